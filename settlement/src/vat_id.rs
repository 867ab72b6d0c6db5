//! The form of VAT ids: syntax alone. Whether an id is in use, only the authority knows.
//!
//! A form is written with `#` for a digit, `@` for a letter, `*` for either, and itself for the rest.

/// The longest id that is looked at.
pub const VAT_ID_BYTES_MAX: usize = 24;

/// The id as authorities write it: capitals, without spaces, points and dashes.
#[must_use]
pub fn normalised(id: &str) -> Option<String> {
    if id.len() > VAT_ID_BYTES_MAX || !id.is_ascii() {
        return None;
    }
    let kept = id.chars().filter(|c| !matches!(c, ' ' | '.' | '-'));
    Some(kept.map(|c| c.to_ascii_uppercase()).collect())
}

/// Whether a normalised id has this form.
#[must_use]
pub fn fits(id: &str, form: &str) -> bool {
    id.len() == form.len()
        && id.bytes().zip(form.bytes()).all(|(byte, place)| match place {
            b'#' => byte.is_ascii_digit(),
            b'@' => byte.is_ascii_uppercase(),
            b'*' => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
            _ => byte == place,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_compared_as_authorities_write_them() {
        assert_eq!(normalised("de 123-456.789").as_deref(), Some("DE123456789"));
        assert!(fits("DE123456789", "DE#########"));
        assert!(fits("FRX7123456789", "FR**#########"));
        assert!(!fits("DE12345678", "DE#########"));
        assert!(!fits("DE12345678O", "DE#########"));
        assert_eq!(normalised("DEé123456789"), None);
        assert_eq!(normalised(&"1".repeat(25)), None);
    }
}
