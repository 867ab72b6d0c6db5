//! The entry of the fuzz target, here so that plain tests can run its corpus without a fuzzer.

use crate::command::{decode_entry, encode_entry};

/// Any bytes as an entry of the log, as they are and behind the right version. Claimed is, beside that nothing panics:
/// what is read can be written, and reads back to the same.
///
/// # Panics
/// When a claim does not hold.
pub fn fuzz_entry(data: &[u8]) {
    let _ = decode_entry(data);
    let mut framed = encode_entry(novax_model::Timestamp::ZERO, Vec::new());
    framed.truncate(crate::command::ENTRY_HEADER_LEN);
    framed.extend_from_slice(data);
    if let Ok(entry) = decode_entry(&framed) {
        let again = entry.encode();
        assert_eq!(decode_entry(&again).as_ref(), Ok(&entry));
    }
}
