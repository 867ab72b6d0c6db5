//! JSON, walked field by field, so that each complaint says where.
//!
//! A value is kept as the text it came as until something asks for it; what nobody asked for is
//! counted. A key twice in an object is refused: two readers could take different prices from it.

use super::decimal;
use crate::error::TariffError;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The longest text that is looked at.
pub const JSON_BYTES_MAX: usize = 256 * 1024;
/// Fields in one object, and entries in one list.
const ENTRIES_MAX: usize = 256;
/// How many unknown fields are named; all are counted.
const NAMED_MAX: usize = 16;

/// What was in a text and is not in its schema.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unknown {
    /// How many fields.
    pub count: usize,
    /// The first of them, by path.
    pub paths: Vec<String>,
}

/// A value somewhere in a text.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    path: String,
    raw: &'a RawValue,
}

/// The fields of an object, of which those not asked for are unknown.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    path: String,
    fields: Vec<(String, &'a RawValue, bool)>,
}

/// The value a text is.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, TariffError> {
    if text.len() > JSON_BYTES_MAX {
        return Err(TariffError::NotJson(format!("{} bytes are too many", text.len())));
    }
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|wrong| TariffError::NotJson(wrong.to_string()))?;
    Ok(Node { path: String::new(), raw })
}

impl<'a> Node<'a> {
    pub(crate) fn refuse(&self, what: impl Into<String>) -> TariffError {
        let path = if self.path.is_empty() { "the text" } else { self.path.as_str() };
        TariffError::Field { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.raw.get()
    }

    pub(crate) fn fields(&self) -> Result<Fields<'a>, TariffError> {
        if !self.text().starts_with('{') {
            return Err(self.refuse("is no object"));
        }
        let mut reader = serde_json::Deserializer::from_str(self.raw.get());
        let fields = reader.deserialize_map(Object).map_err(|wrong| self.refuse(said(&wrong)))?;
        Ok(Fields { path: self.path.clone(), fields })
    }

    pub(crate) fn list(&self) -> Result<Vec<Node<'a>>, TariffError> {
        if !self.text().starts_with('[') {
            return Err(self.refuse("is no list"));
        }
        let mut reader = serde_json::Deserializer::from_str(self.raw.get());
        let list = reader.deserialize_seq(List).map_err(|wrong| self.refuse(said(&wrong)))?;
        let node = |(index, raw)| Node { path: format!("{}[{index}]", self.path), raw };
        Ok(list.into_iter().enumerate().map(node).collect())
    }

    pub(crate) fn string(&self) -> Result<String, TariffError> {
        serde_json::from_str(self.text()).map_err(|_| self.refuse("is no string"))
    }

    /// A string of a length.
    pub(crate) fn string_of(&self, least: usize, most: usize) -> Result<Box<str>, TariffError> {
        let text = self.string()?;
        if (least..=most).contains(&text.len()) {
            return Ok(text.into());
        }
        let bytes = text.len();
        Err(self.refuse(format!("has {bytes} bytes: {least} to {most} are possible")))
    }

    /// A number, exactly, times ten to the `places`.
    pub(crate) fn decimal(&self, places: u32) -> Result<i128, TariffError> {
        decimal::read(self.text(), places).map_err(|bad| match bad {
            decimal::Bad::Form => self.refuse("is no number"),
            decimal::Bad::TooFine => self.refuse(format!("has more than {places} decimal places")),
            decimal::Bad::TooLarge => self.refuse("is beyond all measure"),
        })
    }

    /// A number, exactly, times ten to the `places`, that fits.
    pub(crate) fn whole<T: TryFrom<i128>>(&self, places: u32) -> Result<T, TariffError> {
        T::try_from(self.decimal(places)?).map_err(|_| self.refuse("is out of range"))
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, TariffError> {
        let text = self.string()?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let text: String = text.chars().take(40).collect();
            self.refuse(format!("is {text:?}: possible are {}", words.join(", ")))
        })
    }
}

impl<'a> Fields<'a> {
    /// A field that may be missing; null is missing.
    pub(crate) fn optional(&mut self, name: &str) -> Option<Node<'a>> {
        let (_, raw, asked) = self.fields.iter_mut().find(|(key, _, _)| key == name)?;
        *asked = true;
        if raw.get() == "null" {
            return None;
        }
        Some(Node { path: self.at(name), raw: self.raw(name)? })
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.iter().find(|(key, _, _)| key == name).map(|(_, raw, _)| *raw)
    }

    /// A field that must be there.
    pub(crate) fn required(&mut self, name: &str) -> Result<Node<'a>, TariffError> {
        self.optional(name).ok_or_else(|| TariffError::Field {
            path: self.at(name),
            what: "is missing".to_owned(),
        })
    }

    /// What a field says, where it is there.
    pub(crate) fn map<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Node<'a>) -> Result<T, TariffError>,
    ) -> Result<Option<T>, TariffError> {
        self.optional(name).map(|node| read(&node)).transpose()
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Counts what nobody asked for.
    pub(crate) fn finish(self, unknown: &mut Unknown) {
        for (name, _, _) in self.fields.iter().filter(|(_, _, asked)| !asked) {
            unknown.count += 1;
            if unknown.paths.len() < NAMED_MAX {
                let name: String = name.chars().take(64).collect();
                unknown.paths.push(self.at(&name));
            }
        }
    }
}

struct Object;

impl<'a> Visitor<'a> for Object {
    type Value = Vec<(String, &'a RawValue, bool)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Self::Value = Vec::new();
        while let Some((key, raw)) = map.next_entry::<String, &'a RawValue>()? {
            if fields.iter().any(|(other, _, _)| *other == key) {
                let key: String = key.chars().take(64).collect();
                return Err(serde::de::Error::custom(format!("has {key:?} twice")));
            }
            if fields.len() == ENTRIES_MAX {
                return Err(serde::de::Error::custom("has too many fields"));
            }
            fields.push((key, raw, false));
        }
        Ok(fields)
    }
}

struct List;

impl<'a> Visitor<'a> for List {
    type Value = Vec<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(raw) = seq.next_element::<&'a RawValue>()? {
            if list.len() == ENTRIES_MAX {
                return Err(serde::de::Error::custom("has too many entries"));
            }
            list.push(raw);
        }
        Ok(list)
    }
}

/// What is wrong, without the line and column within the piece that was looked at.
fn said(wrong: &serde_json::Error) -> String {
    let words = wrong.to_string();
    words.split_once(" at line ").map_or(words.as_str(), |(words, _)| words).to_owned()
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}
