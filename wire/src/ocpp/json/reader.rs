//! Reads a payload into any serde type, straight from the text.
//!
//! Lenient, and noting it: a number or boolean where text is due, a quoted number where a number
//! is due, a fraction where an integer is due (cut off), `null` where a field should have been left
//! out. Everything else that does not fit is an error with the OCPP code for it.

use super::scan::{Result, Scanner, deeper};
use crate::ocpp::decimal::Decimal;
use crate::ocpp::error::CallError;
use crate::ocpp::payload::Notes;
use crate::ocpp::text::{JSON_NAME, NUMBER_NAME};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use std::borrow::Cow;

/// Reads the whole of `text` as one `T`.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str, notes: &mut Notes) -> Result<T> {
    let mut reader = Reader { scanner: Scanner::new(text), depth: 0, notes };
    let value = T::deserialize(&mut reader)?;
    reader.scanner.end()?;
    Ok(value)
}

struct Reader<'a, 'n> {
    scanner: Scanner<'a>,
    depth: u32,
    notes: &'n mut Notes,
}

impl<'a> Reader<'a, '_> {
    /// Text, or the text of a number or boolean in its place.
    fn text(&mut self, expected: &dyn de::Expected) -> Result<Cow<'a, str>> {
        match self.scanner.peek() {
            Some(b'"') => self.scanner.string()?.decode(),
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => {
                self.notes.scalar_as_text = true;
                self.scanner.value(self.depth).map(Cow::Borrowed)
            }
            _ => Err(self.wrong_type(expected)),
        }
    }

    /// The text of a number, quoted or not; quoted it need not be a number at all.
    fn number(&mut self, expected: &dyn de::Expected) -> Result<Cow<'a, str>> {
        match self.scanner.peek() {
            Some(b'"') => {
                self.notes.text_as_scalar = true;
                self.scanner.string()?.decode()
            }
            Some(b'-' | b'0'..=b'9') => self.scanner.number().map(Cow::Borrowed),
            _ => Err(self.wrong_type(expected)),
        }
    }

    fn integer(&mut self, expected: &dyn de::Expected) -> Result<i64> {
        let text = self.number(expected)?;
        if let Ok(integer) = text.parse() {
            return Ok(integer);
        }
        let decimal = Decimal::parse(&text)
            .map_err(|_| CallError::invalid_type(Unexpected::Str(&text), expected))?;
        let (integer, cut) = decimal.truncated().ok_or_else(|| {
            CallError::invalid_value(Unexpected::Other("so large a number"), expected)
        })?;
        self.notes.fraction_cut |= cut;
        Ok(integer)
    }

    fn boolean(&mut self, expected: &dyn de::Expected) -> Result<bool> {
        let text = match self.scanner.peek() {
            Some(b't' | b'f') => return Ok(self.scanner.value(self.depth)? == "true"),
            Some(b'"') => self.scanner.string()?.decode()?,
            Some(b'0' | b'1') => Cow::Borrowed(self.scanner.number()?),
            _ => return Err(self.wrong_type(expected)),
        };
        self.notes.text_as_scalar = true;
        if text.eq_ignore_ascii_case("true") || text == "1" {
            Ok(true)
        } else if text.eq_ignore_ascii_case("false") || text == "0" {
            Ok(false)
        } else {
            Err(CallError::invalid_type(Unexpected::Str(&text), expected))
        }
    }

    /// What lies here instead of what was expected; broken JSON is reported as such.
    fn wrong_type(&mut self, expected: &dyn de::Expected) -> CallError {
        let first = self.scanner.peek();
        if let Err(broken) = self.scanner.value(self.depth) {
            return broken;
        }
        let found = match first {
            Some(b'"') => Unexpected::Other("text"),
            Some(b'{') => Unexpected::Map,
            Some(b'[') => Unexpected::Seq,
            Some(b't' | b'f') => Unexpected::Other("a boolean"),
            Some(b'n') => Unexpected::Other("null"),
            _ => Unexpected::Other("a number"),
        };
        CallError::invalid_type(found, expected)
    }
}

fn visit_text<'a, V: Visitor<'a>>(text: Cow<'a, str>, visitor: V) -> Result<V::Value> {
    match text {
        Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
        Cow::Owned(text) => visitor.visit_string(text),
    }
}

/// The integer methods of a deserializer differ only in name: the visitor checks the range.
macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
            let integer = self.integer(&visitor)?;
            visitor.visit_i64(integer)
        }
    )*};
}

impl<'a> Deserializer<'a> for &mut Reader<'a, '_> {
    type Error = CallError;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        match self.scanner.peek() {
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b't' | b'f') => self.deserialize_bool(visitor),
            Some(b'n') => {
                self.scanner.word("null")?;
                visitor.visit_unit()
            }
            Some(b'-' | b'0'..=b'9') => {
                let text = self.scanner.number()?;
                match text.parse() {
                    Ok(integer) => visitor.visit_i64(integer),
                    // Not as a float: whoever wants the digits takes them as text.
                    Err(_) => visitor.visit_borrowed_str(text),
                }
            }
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        let boolean = self.boolean(&visitor)?;
        visitor.visit_bool(boolean)
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        visit_text(self.text(&visitor)?, visitor)
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        if self.scanner.peek() == Some(b'n') {
            self.scanner.word("null")?;
            self.notes.null_field = true;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        match name {
            NUMBER_NAME => visit_text(self.number(&visitor)?, visitor),
            JSON_NAME => visitor.visit_borrowed_str(self.scanner.value(self.depth)?),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        if self.scanner.peek() != Some(b'[') {
            return Err(self.wrong_type(&visitor));
        }
        let outer = self.depth;
        self.depth = deeper(outer)?;
        self.scanner.expect(b'[', "an array")?;
        let value = visitor.visit_seq(Elements { reader: self, first: true })?;
        self.scanner.expect(b']', "the array's end")?;
        self.depth = outer;
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        if self.scanner.peek() != Some(b'{') {
            return Err(self.wrong_type(&visitor));
        }
        let outer = self.depth;
        self.depth = deeper(outer)?;
        self.scanner.expect(b'{', "an object")?;
        let value =
            visitor.visit_map(Fields { reader: self, first: true, field: Cow::Borrowed("") })?;
        self.scanner.expect(b'}', "the object's end")?;
        self.depth = outer;
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_map(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        self.scanner.value(self.depth)?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'a>>
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
    }
}

struct Elements<'r, 'a, 'n> {
    reader: &'r mut Reader<'a, 'n>,
    first: bool,
}

impl<'a> SeqAccess<'a> for Elements<'_, 'a, '_> {
    type Error = CallError;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.reader.scanner.peek() == Some(b']') && self.first {
            return Ok(None);
        }
        if !std::mem::take(&mut self.first) && !self.reader.scanner.take(b',') {
            // Not a comma: the end, which the caller checks.
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

struct Fields<'r, 'a, 'n> {
    reader: &'r mut Reader<'a, 'n>,
    first: bool,
    field: Cow<'a, str>,
}

impl<'a> MapAccess<'a> for Fields<'_, 'a, '_> {
    type Error = CallError;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if self.reader.scanner.peek() == Some(b'}') && self.first {
            return Ok(None);
        }
        if !std::mem::take(&mut self.first) && !self.reader.scanner.take(b',') {
            return Ok(None);
        }
        self.field = self.reader.scanner.string()?.decode()?;
        self.reader.scanner.expect(b':', "a colon")?;
        seed.deserialize(de::value::StrDeserializer::<CallError>::new(&self.field)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.reader).map_err(|error| error.within(&self.field))
    }
}
