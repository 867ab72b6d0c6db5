//! A forger who knows the format and redoes every check sum cannot redo the signatures.

use novax_audit::{Start, Tree, What, Writer};
use novax_ledger::JournalRow;

use crate::journal::{Journal, PARTITION, charge_journal, check, signing_key};

/// Export with another set of transactions under the genuine heads and proofs. The writer itself
/// would refuse, so the heads it sees are forged too and put right afterwards.
fn forge(genuine: &Journal, forged: &[JournalRow], with_proofs: bool) -> Vec<u8> {
    let other = Journal::new(forged);
    let mut writer = Writer::new(Vec::new(), &Start::whole(PARTITION, with_proofs)).unwrap();
    let size = other.transactions.len() as u64;
    writer.head(&other.head(size, &signing_key(1))).unwrap();
    for (number, rows) in (0..).zip(&other.transactions) {
        let proof = with_proofs.then(|| genuine.proof(number, size));
        writer.transaction(rows, proof.as_deref()).unwrap();
    }
    let mut bytes = writer.finish().unwrap();
    let theirs = other.head(size, &signing_key(1)).to_bytes();
    let at = bytes.windows(theirs.len()).position(|window| window == theirs).unwrap();
    let genuine = genuine.head(size, &signing_key(1)).to_bytes();
    bytes[at..at + theirs.len()].copy_from_slice(&genuine);
    redo_check_sums(&bytes)
}

/// What a forger does: all folds and links anew, by the document alone.
fn redo_check_sums(export: &[u8]) -> Vec<u8> {
    use sha2_oracle::{Digest, Sha256};
    let mut out = export[..10].to_vec();
    let mut link: [u8; 32] = Sha256::digest([&[3], &out[..]].concat()).into();
    let mut at = 10;
    while at < export.len() {
        let length = u32::from_le_bytes(export[at..at + 4].try_into().unwrap()) as usize;
        let body = &export[at + 9..at + 9 + length];
        let mut fold = [0; 32];
        for (place, byte) in body.iter().enumerate() {
            fold[place % 32] ^= byte;
        }
        link = Sha256::digest([&[3], &link[..], &export[at..at + 5], body].concat()).into();
        out.extend_from_slice(&export[at..at + 9 + length]);
        out.extend_from_slice(&fold);
        out.extend_from_slice(&link);
        at += 9 + length + 64;
    }
    out
}

/// The deposit is raised by a cent: books that are as right as before.
fn richer() -> Vec<JournalRow> {
    let mut rows = charge_journal();
    rows[0].amount += 1;
    rows
}

#[test]
fn check_sums_redone_by_the_document_are_the_writers() {
    let export = Journal::new(&charge_journal()).export(0, &[11], true, None);
    assert_eq!(redo_check_sums(&export), export);
}

#[test]
fn with_proofs_the_forged_transaction_is_named() {
    let genuine = Journal::new(&charge_journal());
    let mut rows = charge_journal();
    // The split of the charge: a cent from the state to the host.
    let tax = rows.iter_mut().find(|row| row.amount == 197).unwrap();
    tax.amount -= 1;
    let found = check(&forge(&genuine, &rows, true)).unwrap_err();
    assert_eq!((found.transaction, found.what), (Some(3), What::ProofWrong));
}

#[test]
fn without_proofs_the_range_is_named() {
    let genuine = Journal::new(&charge_journal());
    let found = check(&forge(&genuine, &richer(), false)).unwrap_err();
    assert_eq!((found.transaction, found.what), (Some(0), What::RootDiffers { until: 11 }));
}

#[test]
fn another_key_vouches_for_nothing() {
    let journal = Journal::new(&richer());
    let mut writer = Writer::new(Vec::new(), &Start::whole(PARTITION, false)).unwrap();
    writer.head(&journal.head(11, &signing_key(9))).unwrap();
    for rows in &journal.transactions {
        writer.transaction(rows, None).unwrap();
    }
    let found = check(&writer.finish().unwrap()).unwrap_err();
    assert!(matches!(found.what, What::NotVouchedFor(_)), "{found}");
    assert_eq!(found.record, 2, "the head");
}

#[test]
fn a_start_that_lies_about_the_past_is_seen_at_the_first_head() {
    let genuine = Journal::new(&charge_journal());
    let mut other = Tree::new();
    for _ in 0..4 {
        let _ = other.append([9; 32]);
    }
    let export = genuine.export(4, &[11], false, None);
    let at = export.windows(32).position(|w| w == genuine.trees[4].frontier()[0]).unwrap();
    let mut forged = export.clone();
    forged[at..at + 32].copy_from_slice(&other.frontier()[0]);
    let found = check(&redo_check_sums(&forged)).unwrap_err();
    assert_eq!((found.transaction, found.what), (Some(4), What::RootDiffers { until: 11 }));
}
