//! The id of a person's account: a salted commitment to its name and currency.
//!
//! What is hashed for ever holds no personal data. The id says nothing without the salt; whoever
//! has the salt and the name can show that the account is theirs; when salt and name are deleted,
//! the id stays valid in every leaf and names nobody.
//!
//! `id = the first 16 bytes, as u128 LE, of SHA-256(0x05 || salt 32 || currency 3 || name)`.

use novax_model::{AccountId, Currency};

use crate::hash::{Domain, hash};

/// How many random bytes keep a name from being guessed.
pub const SALT_BYTES: usize = 32;

/// The account id of `name` under `salt`.
#[must_use]
pub fn commit(salt: &[u8; SALT_BYTES], name: &str, currency: Currency) -> AccountId {
    let full = hash(Domain::Commitment, &[salt, &currency.bytes(), name.as_bytes()]);
    let mut id = [0; 16];
    id.copy_from_slice(&full[..16]);
    AccountId(u128::from_le_bytes(id))
}

/// Whether `id` is the account of `name` under `salt`.
#[must_use]
pub fn opens(id: AccountId, salt: &[u8; SALT_BYTES], name: &str, currency: Currency) -> bool {
    commit(salt, name, currency) == id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_opens_with_its_salt_name_and_currency_only() {
        let salt = [7; SALT_BYTES];
        let id = commit(&salt, "drivers/ada", Currency::EUR);
        assert!(opens(id, &salt, "drivers/ada", Currency::EUR));
        assert!(!opens(id, &[8; SALT_BYTES], "drivers/ada", Currency::EUR));
        assert!(!opens(id, &salt, "drivers/bob", Currency::EUR));
        assert!(!opens(id, &salt, "drivers/ada", Currency::new("CHF").unwrap()));
    }

    #[test]
    fn commitments_are_fixed_for_ever() {
        let id = commit(&[7; SALT_BYTES], "drivers/ada", Currency::EUR);
        assert_eq!(id.0, 0xb078_ec0a_f84b_6632_ee45_6f33_c83b_ba48);
    }
}
