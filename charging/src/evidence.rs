//! What meters signed is kept as the station sent it, to be verified by whoever asks.
//!
//! **Invariants**: bytes are never changed; a session keeps so much and no more, and what does not fit is
//! told to a person, not cut.

use crate::command::{Outcome, Refusal};
use crate::document::{SIGNED_BYTES_MAX, Signed, SignedRow};
use crate::rows::{Keyspace, SessionRow, archive};
use crate::state::State;
use novax_model::Identity;

/// Characters of a public key.
const METER_KEY_CHARS_MAX: usize = 1_024;

impl State {
    /// Keeps what came with a session's stop.
    pub(crate) fn keep_signed(&mut self, row: &SessionRow, signed: &Signed) {
        if signed.values.is_empty() {
            return;
        }
        let (session, identity) = (row.session, row.identity.clone());
        if !signed.fits() {
            let text = format!(
                "session {session}: its signed meter values are more than {SIGNED_BYTES_MAX} bytes \
                 and were not kept"
            );
            return self.except(&identity, &text);
        }
        let kept = SignedRow { session, identity, at: self.now(), values: signed.values.clone() };
        let key = session.0.to_be_bytes().to_vec();
        self.append(Keyspace::SignedValues, &key, &archive(&kept));
    }

    /// The public key of a station's meter, by which its signatures are verified.
    pub(crate) fn put_meter_key(
        &mut self,
        identity: &Identity,
        key: Option<Box<str>>,
    ) -> Result<Outcome, Refusal> {
        let number = self.find_station(identity.as_str()).ok_or(Refusal::UnknownStation)?;
        if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > METER_KEY_CHARS_MAX) {
            let text = format!("a meter's public key has 1 to {METER_KEY_CHARS_MAX} characters");
            return Err(Refusal::BadTerms(text.into()));
        }
        if self.station(number).row.meter_key != key {
            self.touch_station(number).meter_key = key;
        }
        Ok(Outcome::Done)
    }
}
