//! Exports: genuine ones verify, and every flipped byte of one is found where it is.

use novax_audit::{Report, SignedHead, Start, What, Writer, verify};

use crate::journal::{
    Journal, PARTITION, charge_journal, check, check_with, public_keys, signing_key,
};

fn whole() -> (Journal, Vec<u8>) {
    let journal = Journal::new(&charge_journal());
    let export = journal.export(0, &[4, 10], true, None);
    (journal, export)
}

#[test]
fn a_genuine_export_verifies() {
    let (journal, export) = whole();
    let report: Report = check(&export).unwrap();
    assert_eq!((report.base, report.size, report.signed, report.heads), (0, 11, 10, 2));
    assert_eq!(report.root, journal.trees[11].root());
    assert_eq!((report.open_holds, report.on_trust), (0, 0));
    let words = report.to_string();
    assert!(words.contains("vouched for by 2 heads: 10 of 11"), "{words}");
    assert!(words.contains("EUR moved"), "{words}");
}

#[test]
fn exports_are_fixed_for_ever() {
    let fixture: &[u8] = include_bytes!("../../testdata/export-v1.nvx");
    let export = whole().1;
    if fixture != export {
        // For whoever means to make a new version: the bytes that this build writes.
        let path = std::env::temp_dir().join("export-now.nvx");
        std::fs::write(&path, &export).unwrap();
        panic!("the format changed; see {}", path.display());
    }
    check(fixture).unwrap();
}

#[test]
fn a_part_verifies_against_a_remembered_head() {
    let journal = Journal::new(&charge_journal());
    let remembered = journal.head(4, &signing_key(1)).head;
    let part = journal.export(4, &[11], false, None);
    let report = check_with(&part, Some(&remembered)).unwrap();
    assert_eq!((report.base, report.size, report.signed), (4, 11, 11));
    assert!(report.was_trusted_compared);
    assert!(report.on_trust > 0, "the refund refers to a set from before");
    let mut other = remembered;
    other.root[0] ^= 1;
    let wrong = check_with(&part, Some(&other)).unwrap_err();
    assert_eq!(wrong.what, What::RootDiffers { until: 4 });
    let longer = novax_audit::TreeHead { size: 12, ..remembered };
    let wrong = check_with(&part, Some(&longer)).unwrap_err();
    assert_eq!(wrong.what, What::Shortened { trusted: 12 });
}

#[test]
fn a_remembered_head_is_compared_in_the_middle() {
    let (journal, export) = whole();
    let mut remembered = journal.head(7, &signing_key(1)).head;
    assert!(check_with(&export, Some(&remembered)).unwrap().was_trusted_compared);
    remembered.root[31] ^= 1;
    let wrong = check_with(&export, Some(&remembered)).unwrap_err();
    assert_eq!((wrong.transaction, wrong.what), (Some(4), What::RootDiffers { until: 7 }));
}

#[test]
fn keys_are_followed_through_an_export() {
    let journal = Journal::new(&charge_journal());
    let export = journal.export(0, &[3, 6, 11], true, Some(6));
    let report = check(&export).unwrap();
    assert_eq!((report.heads, report.signed), (3, 11));
}

#[test]
fn nobody_vouches_without_a_head() {
    let journal = Journal::new(&charge_journal());
    let report = check(&journal.export(0, &[], false, None)).unwrap();
    assert_eq!((report.signed, report.size), (0, 11));
}

/// Record by record: where each begins, and where its body does.
fn records(export: &[u8]) -> Vec<(usize, usize)> {
    let mut found = vec![(0, 10)];
    let mut at = 10;
    while at < export.len() {
        let length = u32::from_le_bytes(export[at..at + 4].try_into().unwrap()) as usize;
        let end = at + 9 + length + 64;
        found.push((at, end));
        at = end;
    }
    found
}

#[test]
fn every_flipped_byte_is_found_to_the_byte() {
    let (_, export) = whole();
    let records = records(&export);
    for at in 0..export.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = export.clone();
            changed[at] ^= flip;
            let found = check(&changed).expect_err("a change is seen");
            assert_eq!(found.byte_offset, at as u64, "{found}");
            let record = records.iter().position(|(start, end)| (*start..*end).contains(&at));
            assert_eq!(found.record, record.unwrap() as u64, "{found}");
            if let What::Changed { was, is, .. } = &found.what {
                assert_eq!((&was[..], &is[..]), (&export[at..=at], &changed[at..=at]));
            } else {
                assert!(at < 10, "{found}");
            }
        }
    }
}

#[test]
fn an_overwritten_amount_is_named_with_what_it_was() {
    let (journal, export) = whole();
    let mut amount = 1_234_u128.to_le_bytes();
    let at = export.windows(16).position(|window| window == amount).unwrap();
    let mut changed = export.clone();
    amount[..3].copy_from_slice(&[0xff, 0xff, 0x0f]);
    changed[at..at + 16].copy_from_slice(&amount);
    let found = check(&changed).unwrap_err();
    assert_eq!(found.byte_offset, at as u64);
    let words = found.to_string();
    assert!(words.ends_with("amount of row 0 was d20400, is ffff0f"), "{words}");
    assert_eq!(journal.transactions[3][0].amount, 1_234);
}

#[test]
fn changes_far_apart_are_found_to_the_record() {
    let (_, export) = whole();
    for (number, (start, end)) in records(&export).into_iter().enumerate().skip(1) {
        if end - start < 9 + 80 + 64 {
            continue;
        }
        let mut changed = export.clone();
        for at in [start + 9, start + 9 + 40, start + 9 + 71] {
            changed[at] ^= 0x55;
        }
        let found = check(&changed).unwrap_err();
        assert_eq!((found.byte_offset, found.record), (start as u64, number as u64));
        assert!(matches!(found.what, What::ChangedWidely { .. }), "{found}");
    }
}

#[test]
fn removed_moved_and_doubled_records_are_found() {
    let (_, export) = whole();
    let records = records(&export);
    for pair in records.windows(2).skip(1) {
        let [(start, middle), (_, end)] = [pair[0], pair[1]];
        let (one, two) = (&export[start..middle], &export[middle..end]);
        let removed = [&export[..start], &export[middle..]].concat();
        let swapped = [&export[..start], two, one, &export[end..]].concat();
        let doubled = [&export[..middle], one, &export[middle..]].concat();
        for (changed, at) in [(removed, start), (swapped, start), (doubled, middle)] {
            let found = check(&changed).unwrap_err();
            assert_eq!((found.byte_offset, &found.what), (at as u64, &What::OutOfPlace));
        }
    }
}

#[test]
fn an_export_cut_anywhere_is_found_where_it_ends() {
    let (_, export) = whole();
    for end in 0..export.len() {
        let found = check(&export[..end]).unwrap_err();
        assert_eq!((found.byte_offset, found.what), (end as u64, What::Truncated));
    }
    let found = check(&[&export[..], b"x"].concat()).unwrap_err();
    assert_eq!((found.byte_offset, found.what), (export.len() as u64, What::TooLong));
}

#[test]
fn a_later_version_is_refused_by_name() {
    let mut export = whole().1;
    export[8] = 2;
    let found = check(&export).unwrap_err();
    assert_eq!((found.byte_offset, found.what), (8, What::Version(2)));
}

#[test]
fn the_writer_refuses_what_no_reader_would_take() {
    let journal = Journal::new(&charge_journal());
    let begin =
        |with_proofs| Writer::new(Vec::new(), &Start::whole(PARTITION, with_proofs)).unwrap();
    let head = |size| -> SignedHead { journal.head(size, &signing_key(1)) };
    let first = &journal.transactions[0];
    let mut writer = begin(true);
    writer.head(&head(2)).unwrap();
    assert!(writer.head(&head(3)).is_err(), "transactions are missing");
    assert!(writer.transaction(first, None).is_err(), "its proof is missing");
    writer.transaction(first, Some(&journal.proof(0, 2))).unwrap();
    assert!(writer.finish().is_err(), "transactions are missing");
    let mut writer = begin(false);
    assert!(writer.transaction(first, Some(&[])).is_err(), "nobody asked for a proof");
    let mut forged = head(1);
    forged.head.root[0] ^= 1;
    writer.head(&forged).unwrap();
    assert!(writer.transaction(first, None).is_err(), "another root");
}

#[test]
fn a_failing_reader_is_not_tampering() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let error = verify(Broken, &public_keys(), None).unwrap_err();
    assert_eq!(error.to_string(), "the export cannot be read or written: the disk is gone");
}
