//! Where JSON values lie in a text (RFC 8259). Invariants: a position is always on a character
//! boundary; nesting is bounded by [`DEPTH_MAX`]; nothing is allocated except to undo escapes.

use crate::ocpp::error::{CallError, ErrorCode};
use std::borrow::Cow;

/// The deepest nesting that is read. OCPP's own messages need nine.
pub(crate) const DEPTH_MAX: u32 = 32;

pub(crate) type Result<T> = std::result::Result<T, CallError>;

/// Whether the text is one JSON number and nothing else.
pub(crate) fn is_number(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.number().is_ok_and(|number| number.len() == text.len())
}

/// Whether the text is one well-formed JSON value.
pub(crate) fn check(text: &str) -> Result<()> {
    let mut scanner = Scanner::new(text);
    scanner.value(0)?;
    scanner.end()
}

/// A place in a JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A string between its quotes, escapes not undone yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawString<'a> {
    inner: &'a str,
    escaped: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn broken(&self, expected: &str) -> CallError {
        let place = self.at;
        let found = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        let description = match found {
            Some(found) => format!("expected {expected} at byte {place}, not {found:?}"),
            None => format!("expected {expected}, but the text ends at byte {place}"),
        };
        CallError::new(ErrorCode::FormatViolation, description)
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).expect("positions are on character boundaries")
    }

    /// The next byte that is not white space, left where it is.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Takes this byte (an ASCII one) if it is next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        debug_assert!(byte.is_ascii());
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8, name: &str) -> Result<()> {
        if self.take(byte) { Ok(()) } else { Err(self.broken(name)) }
    }

    /// Nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.broken("the end of the text")),
        }
    }

    pub(crate) fn string(&mut self) -> Result<RawString<'a>> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(self.text.as_bytes().get(self.at..).unwrap_or_default());
            match self.byte() {
                Some(b'"') => {
                    let inner = self.since(start);
                    self.at += 1;
                    return Ok(RawString { inner, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..=0x1f) => return Err(self.broken("no bare control character in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.broken("the string's closing quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.byte().is_some_and(|b| b.is_ascii_hexdigit()) {
                        return Err(self.broken("four hexadecimal digits"));
                    }
                    self.at += 1;
                }
                Ok(())
            }
            _ => Err(self.broken("an escape that JSON has")),
        }
    }

    pub(crate) fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.broken("a digit")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(self.since(start))
    }

    fn digits(&mut self) {
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<()> {
        let start = self.at;
        self.digits();
        if self.at == start { Err(self.broken("a digit")) } else { Ok(()) }
    }

    /// Takes `true`, `false` or `null`.
    pub(crate) fn word(&mut self, word: &'static str) -> Result<()> {
        self.peek();
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        if !found {
            return Err(self.broken("a JSON value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over one value of any kind and returns its text. `depth` is how deep it lies.
    pub(crate) fn value(&mut self, depth: u32) -> Result<&'a str> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => self.string().map(|_| ())?,
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ())?,
            _ => return Err(self.broken("a JSON value")),
        }
        Ok(self.since(start))
    }

    fn object(&mut self, depth: u32) -> Result<()> {
        let deeper = deeper(depth)?;
        self.expect(b'{', "an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.string()?;
            self.expect(b':', "a colon")?;
            self.value(deeper)?;
            if !self.take(b',') {
                return self.expect(b'}', "a comma or the object's end");
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<()> {
        let deeper = deeper(depth)?;
        self.expect(b'[', "an array")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(deeper)?;
            if !self.take(b',') {
                return self.expect(b']', "a comma or the array's end");
            }
        }
    }
}

/// How many bytes at the start can be passed over eight at a time: none of them is a quote, a backslash or a control
/// character. There may be more.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    // A high bit for each byte below the bound, and wrongly perhaps for ones after it: good for finding the first.
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word & HIGHS;
    let mut passed = 0;
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let special = below(word, 0x20) | quote | backslash;
        if special != 0 {
            return passed + (special.trailing_zeros() / 8) as usize;
        }
        passed += 8;
    }
    passed
}

/// One level deeper, up to the bound.
pub(crate) fn deeper(depth: u32) -> Result<u32> {
    if depth >= DEPTH_MAX {
        let description = format!("values are nested more than {DEPTH_MAX} deep");
        return Err(CallError::new(ErrorCode::FormatViolation, description));
    }
    Ok(depth + 1)
}

impl<'a> RawString<'a> {
    /// The characters, escapes undone.
    pub(crate) fn decode(self) -> Result<Cow<'a, str>> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.inner));
        }
        let mut out = String::with_capacity(self.inner.len());
        let mut chars = self.inner.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            out.push(match chars.next() {
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => unicode(&mut chars)?,
                Some(c) => c,
                None => return Err(lone_surrogate()),
            });
        }
        assert!(out.len() <= self.inner.len(), "no escape is shorter than its character");
        Ok(Cow::Owned(out))
    }
}

/// The character of a `\u` escape, or of two that make a surrogate pair.
fn unicode(chars: &mut std::str::Chars<'_>) -> Result<char> {
    let high = hex4(chars)?;
    let code = match high {
        0xd800..0xdc00 => {
            if chars.next() != Some('\\') || chars.next() != Some('u') {
                return Err(lone_surrogate());
            }
            match hex4(chars)? {
                low @ 0xdc00..0xe000 => 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                _ => return Err(lone_surrogate()),
            }
        }
        code => code,
    };
    char::from_u32(code).ok_or_else(lone_surrogate)
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Result<u32> {
    let mut code = 0;
    for _ in 0..4 {
        let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or_else(lone_surrogate)?;
        code = code << 4 | digit;
    }
    Ok(code)
}

fn lone_surrogate() -> CallError {
    CallError::new(ErrorCode::FormatViolation, "a string holds half a surrogate pair")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_plain_bytes_are_passed_over_and_most_of_them_are(
            bytes in prop::collection::vec(
                prop::sample::select(vec![b'a', b'"', b'\\', 0x1f, 0x20, 0x21, 0x7f, 0x80, 0xff, 0]),
                0..40,
            ),
        ) {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            let first = bytes.iter().position(special).unwrap_or(bytes.len());
            let passed = plain_bytes(&bytes);
            prop_assert!(passed <= first, "{passed} of {bytes:?}");
            prop_assert!(passed >= first.min(bytes.len() / 8 * 8), "{passed} of {bytes:?}");
        }
    }

    /// Text that is often JSON and often nearly so.
    fn json_like() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\"a\"",
            "\"b\\n\"",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\\",
            "0",
            "-1",
            "1.5",
            "1e9",
            "01",
            "-",
            "true",
            "false",
            "null",
            "nul",
            " ",
            "\n",
            "é",
        ]);
        prop::collection::vec(pieces, 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn accepts_exactly_what_serde_json_accepts(text in json_like()) {
            let oracle = serde_json::from_str::<serde::de::IgnoredAny>(&text);
            prop_assert_eq!(check(&text).is_ok(), oracle.is_ok(), "{}", text);
        }

        #[test]
        fn strings_decode_as_serde_json_decodes_them(text in any::<String>()) {
            let encoded = serde_json::to_string(&text).unwrap();
            let decoded = Scanner::new(&encoded).string().unwrap().decode().unwrap();
            prop_assert_eq!(decoded, text);
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for text in [r#""\ud83d""#, r#""\ud83dx""#, r#""\ud83d\u0041""#, r#""\ude00""#] {
            let error = Scanner::new(text).string().unwrap().decode().unwrap_err();
            assert_eq!(error.code, ErrorCode::FormatViolation, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(&nested(32)).is_ok());
        assert_eq!(check(&nested(33)).unwrap_err().code, ErrorCode::FormatViolation);
        assert!(check(&"[".repeat(100_000)).is_err());
    }
}
