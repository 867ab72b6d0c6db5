//! Lines of a rule file as words with their columns, and the small things words are made of.

use super::parse::{RuleError, RuleFault};

/// A word, a sign or a quoted text, with the column at which it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) column: u32,
    pub(super) text: String,
    pub(super) quoted: bool,
}

/// One line's tokens, read from left to right.
pub(super) struct Cursor {
    line: u32,
    tokens: Vec<Token>,
    next: usize,
    /// Column just past the line's last token, where something missing is missed.
    end: u32,
}

/// Splits a line. `#` begins a comment, quotes hold a name with blanks, and `, % .. < <= >= >`
/// stand for themselves whether blanks surround them or not.
pub(super) fn scan(line: u32, text: &str) -> Result<Cursor, RuleError> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied();
    let column = |index: usize| u32::try_from(index + 1).unwrap_or(u32::MAX);
    let mut tokens = Vec::new();
    let mut index = 0;
    while let Some(first) = at(index) {
        let begin = index;
        let mut quoted = false;
        let text: String = match first {
            '#' => break,
            blank if blank.is_whitespace() => {
                index += 1;
                continue;
            }
            '"' => {
                quoted = true;
                let body: String =
                    chars.iter().skip(begin + 1).take_while(|c| **c != '"').collect();
                index += body.chars().count() + 2;
                if index > chars.len() {
                    return Err(RuleFault::OpenText.at(line, column(begin)));
                }
                body
            }
            ',' | '%' => {
                index += 1;
                first.to_string()
            }
            '<' | '>' => {
                index += if at(index + 1) == Some('=') { 2 } else { 1 };
                chars.iter().take(index).skip(begin).collect()
            }
            '.' if at(index + 1) == Some('.') => {
                index += 2;
                "..".into()
            }
            _ => {
                while let Some(next) = at(index)
                    && !next.is_whitespace()
                    && !matches!(next, '#' | '"' | ',' | '%' | '<' | '>')
                    && !(next == '.' && at(index + 1) == Some('.'))
                {
                    index += 1;
                }
                chars.iter().take(index).skip(begin).collect()
            }
        };
        assert!(index > begin, "every turn takes a character");
        tokens.push(Token { column: column(begin), text, quoted });
    }
    Ok(Cursor { line, tokens, next: 0, end: column(index) })
}

impl Cursor {
    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.tokens.len()
    }

    /// The column of what comes next.
    pub(super) fn column(&self) -> u32 {
        self.tokens.get(self.next).map_or(self.end, |token| token.column)
    }

    /// A fault at what comes next.
    pub(super) fn fault(&self, fault: RuleFault) -> RuleError {
        fault.at(self.line, self.column())
    }

    /// A fault at what was just read.
    pub(super) fn fault_before(&self, fault: RuleFault) -> RuleError {
        let column = self.tokens.get(self.next.saturating_sub(1)).map_or(1, |token| token.column);
        fault.at(self.line, column)
    }

    /// Takes what comes next if it is this word.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.tokens.get(self.next).is_some_and(|one| !one.quoted && one.text == word);
        self.next += usize::from(found);
        found
    }

    /// Takes these words or fails.
    pub(super) fn expect(&mut self, words: &[&str]) -> Result<(), RuleError> {
        for word in words {
            if !self.take(word) {
                return Err(self.unexpected(&format!("{word:?}")));
            }
        }
        Ok(())
    }

    /// What came is not what the grammar has here.
    pub(super) fn unexpected(&self, expected: &str) -> RuleError {
        let expected = expected.to_owned();
        match self.tokens.get(self.next) {
            Some(token) => {
                self.fault(RuleFault::Unexpected { found: shorten(&token.text), expected })
            }
            None => self.fault(RuleFault::Missing { expected }),
        }
    }

    /// The next token, whatever it is.
    pub(super) fn token(&mut self, expected: &str) -> Result<Token, RuleError> {
        let token = self.tokens.get(self.next).cloned();
        let token = token.ok_or_else(|| self.unexpected(expected))?;
        self.next += 1;
        Ok(token)
    }

    /// The line must end here.
    pub(super) fn end(&self) -> Result<(), RuleError> {
        if self.is_done() { Ok(()) } else { Err(self.unexpected("the end of the line")) }
    }

    /// A decimal number as an integer with `places` decimals, within a range given in that unit.
    pub(super) fn number(
        &mut self,
        what: &str,
        places: u32,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<i64, RuleError> {
        let token = self.token(what)?;
        let Some(value) = decimal(&token.text, places) else {
            let (found, what) = (shorten(&token.text), what.to_owned());
            return Err(self.fault_before(RuleFault::Number { found, what, places }));
        };
        if !range.contains(&value) {
            let what = what.to_owned();
            let show =
                |value: &i64| crate::language::Language::En.decimal((*value).into(), places, 0);
            let (least, most) = (show(range.start()), show(range.end()));
            return Err(self.fault_before(RuleFault::OutOfRange { what, least, most }));
        }
        Ok(value)
    }
}

/// An exact decimal with at most `places` decimals.
pub(super) fn decimal(text: &str, places: u32) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || whole.len() > 12 {
        return None;
    }
    let places = usize::try_from(places).ok()?;
    let part = part.trim_end_matches('0');
    if part.len() > places {
        return None;
    }
    let value: i64 = format!("{whole}{part:0<places$}").parse().ok()?;
    Some(if negative { -value } else { value })
}

/// `HH:MM` as minutes of the day; 24:00 is the end of the day.
pub(super) fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let two =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok());
    let total = two(hours)?? * 60 + two(minutes)??;
    (total <= 1_440 && two(minutes)?? < 60).then_some(total)
}

/// What was found, short enough for an error.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
