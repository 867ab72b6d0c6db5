//! The bodies of requests: `application/x-www-form-urlencoded`, with nested keys in brackets.

use std::fmt::Write;

/// A body, or the query of an address, in the making.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Form {
    text: String,
}

impl Form {
    /// Adds a field; a nested one is written `metadata[name]`.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Form {
        if !self.text.is_empty() {
            self.text.push('&');
        }
        encode(&mut self.text, key);
        self.text.push('=');
        encode(&mut self.text, value);
        self
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Everything but RFC 3986's unreserved characters is escaped.
fn encode(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a String takes all");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_escaped() {
        let form = Form::default().with("amount", "5").with("metadata[a b]", "ü&=+%");
        assert_eq!(form.text(), "amount=5&metadata%5Ba%20b%5D=%C3%BC%26%3D%2B%25");
    }
}
