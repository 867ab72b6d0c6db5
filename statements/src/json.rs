//! Writes JSON whose numbers are decimals of integers: nothing passes through a float.

/// A JSON text under way. Commas are its own business.
#[derive(Debug, Default)]
pub(crate) struct Json {
    text: String,
    /// A value stands before the next one in the same object or array.
    filled: bool,
}

impl Json {
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn comma(&mut self) {
        if self.filled {
            self.text.push(',');
        }
        self.filled = true;
    }

    fn key(&mut self, name: &str) {
        self.comma();
        self.quote(name);
        self.text.push(':');
    }

    fn quote(&mut self, text: &str) {
        // The only failure of writing a string to memory is of a broken Serialize; str has a whole
        // one.
        self.text.push_str(&serde_json::to_string(text).expect("a string is JSON"));
    }

    fn within(&mut self, open: char, close: char, fill: impl FnOnce(&mut Json)) {
        self.text.push(open);
        self.filled = false;
        fill(self);
        self.text.push(close);
        self.filled = true;
    }

    /// An object that stands alone or in an array.
    pub(crate) fn item(&mut self, fill: impl FnOnce(&mut Json)) {
        self.comma();
        self.within('{', '}', fill);
    }

    /// A text that stands in an array.
    pub(crate) fn text_item(&mut self, text: &str) {
        self.comma();
        self.quote(text);
    }

    /// JSON written elsewhere that stands in an array. The caller has checked that it is JSON.
    pub(crate) fn raw_item(&mut self, json: &str) {
        self.comma();
        self.text.push_str(json);
    }

    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        self.key(name);
        self.within('{', '}', fill);
    }

    pub(crate) fn array(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        self.key(name);
        self.within('[', ']', fill);
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        self.quote(value);
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.key(name);
        self.text.push_str(if value { "true" } else { "false" });
    }

    pub(crate) fn null(&mut self, name: &str) {
        self.key(name);
        self.text.push_str("null");
    }

    /// A number: `units / 10^places`, without needless zeros.
    pub(crate) fn number(&mut self, name: &str, units: i128, places: u8) {
        self.key(name);
        self.text.push_str(&crate::decimal::decimal(units, places, true));
    }
}
