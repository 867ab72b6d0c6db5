//! OCMF against records signed by openssl and the example of the OCMF text.

use novax_statements::ocmf::{
    Curve, OcmfError, Pagination, PublicKey, Reading, ReadingUnit, Record, Verdict, measured,
    verify,
};

struct Session {
    key: Option<String>,
    records: Vec<String>,
}

fn load(text: &str) -> Session {
    let mut session = Session { key: None, records: Vec::new() };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(' ').expect("a line has a word and a value") {
            ("key", key) => session.key = Some(key.to_owned()),
            ("record", record) => session.records.push(record.to_owned()),
            (word, _) => panic!("{word} is no word of these files"),
        }
    }
    assert!(!session.records.is_empty());
    session
}

impl Session {
    fn key(&self) -> PublicKey {
        PublicKey::parse(self.key.as_deref().expect("a key")).expect("a good key")
    }

    fn parsed(&self) -> Vec<Record> {
        self.records.iter().map(|text| Record::parse(text.as_bytes()).expect("OCMF")).collect()
    }
}

fn p256() -> Session {
    load(include_str!("../testdata/ocmf/secp256r1.txt"))
}

fn p384() -> Session {
    load(include_str!("../testdata/ocmf/secp384r1.txt"))
}

fn k256() -> Session {
    load(include_str!("../testdata/ocmf/secp256k1.txt"))
}

#[test]
fn what_openssl_signed_is_valid_on_three_curves() {
    let curves = [Curve::Secp256r1, Curve::Secp384r1, Curve::Secp256k1];
    for (session, curve) in [p256(), p384(), k256()].iter().zip(curves) {
        assert_eq!(session.key().curve(), Some(curve));
        for record in session.parsed() {
            assert_eq!(verify(&record, &session.key()), Verdict::Valid, "{}", curve.name());
        }
    }
}

#[test]
fn both_signatures_that_are_valid_are_taken() {
    // s and n - s are both signatures of the same; some curves' libraries take the low one alone.
    use k256::ecdsa::Signature;
    use k256::elliptic_curve::PrimeField as _;
    let session = k256();
    let record = &session.parsed()[0];
    let bytes: Vec<u8> = (0..record.signature.data.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&record.signature.data[i..i + 2], 16).unwrap())
        .collect();
    let signature = Signature::from_der(&bytes).unwrap();
    let other = -*signature.s();
    let other = Signature::from_scalars(signature.r().to_repr(), other.to_repr()).unwrap();
    let hex: String = other.to_der().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let text = session.records[0].replace(&*record.signature.data, &hex);
    assert_ne!(text, session.records[0]);
    let record = Record::parse(text.as_bytes()).unwrap();
    assert_eq!(verify(&record, &session.key()), Verdict::Valid);
}

#[test]
fn any_changed_byte_of_the_payload_is_found() {
    let session = p256();
    let text = &session.records[1];
    let key = session.key();
    let payload = text.find('{').unwrap()..text.rfind('|').unwrap();
    let mut looked_at = 0;
    for at in payload {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        if let Ok(record) = Record::parse(&bytes) {
            assert!(matches!(verify(&record, &key), Verdict::Invalid(_)), "byte {at}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 100, "most changes are still OCMF: {looked_at}");
}

#[test]
fn white_space_within_the_payload_counts_and_around_the_record_does_not() {
    let session = p256();
    let carried = format!("\r\n {}\n", session.records[0]);
    let record = Record::parse(carried.as_bytes()).unwrap();
    assert_eq!(record.raw(), carried.as_bytes());
    assert_eq!(verify(&record, &session.key()), Verdict::Valid);
    let spaced = session.records[0].replacen("{\"FV\"", "{ \"FV\"", 1);
    let record = Record::parse(spaced.as_bytes()).unwrap();
    assert!(matches!(verify(&record, &session.key()), Verdict::Invalid(_)));
}

#[test]
fn a_curve_that_is_not_computed_here_is_unverifiable_and_not_invalid() {
    let session = load(include_str!("../testdata/ocmf/brainpool256r1.txt"));
    assert_eq!(session.key().curve(), Some(Curve::Unsupported("brainpool256r1")));
    let record = &session.parsed()[0];
    assert_eq!(verify(record, &session.key()), Verdict::Unverifiable("curve not supported"));
}

#[test]
fn another_key_and_another_curve_do_not_verify() {
    let (p, k) = (p256(), k256());
    let record = &p.parsed()[0];
    let wrong_curve = Verdict::Invalid("the key is of another curve than the signature");
    assert_eq!(verify(record, &k.key()), wrong_curve);
    // A bare point says no curve; this one is none of P-256's.
    let text = k.key.as_deref().unwrap();
    let point = PublicKey::parse(&text[text.len() - 130..]).unwrap();
    assert_eq!(point.curve(), None);
    assert!(!matches!(verify(record, &point), Verdict::Valid));
    // The bare point of the right key is as good as its DER.
    let text = p.key.as_deref().unwrap();
    let point = PublicKey::parse(&text[text.len() - 130..]).unwrap();
    assert_eq!(verify(record, &point), Verdict::Valid);
}

#[test]
fn the_published_example_reads_as_its_text_says() {
    let session = load(include_str!("../testdata/ocmf/published.txt"));
    let record = &session.parsed()[0];
    assert_eq!(record.pagination, Pagination::Transaction(12345));
    assert_eq!(record.gateway_serial.as_deref(), Some("808829900001"));
    assert_eq!(record.meter_serial.as_deref(), Some("BQ27400330016"));
    assert_eq!(record.user_assigned, Some(true));
    assert_eq!(record.user.as_deref(), Some("1F2D3A4F5506C7"));
    assert_eq!(&*record.signature.algorithm, "ECDSA-secp256r1-SHA256");
    let [begin, end] = &record.readings[..] else { panic!("two readings") };
    assert_eq!((begin.transaction, end.transaction), (Some('B'), Some('E')));
    let value = begin.value.as_ref().unwrap();
    assert_eq!((&*value.text, value.value, value.places), ("2935.6", 29356, 1));
    assert_eq!(value.unit, ReadingUnit::KilowattHour);
    let verdict = verify(record, &p256().key());
    assert_eq!(verdict, Verdict::Invalid("the signature is no DER"));
    assert_eq!(measured(std::slice::from_ref(record)).unwrap().energy_wh, 29_500);
}

#[test]
fn a_session_measures_the_difference_of_its_registers() {
    let measured = measured(&p256().parsed()).unwrap();
    // 2965.101 - 2935.60 kWh: the places of each reading are kept.
    assert_eq!((measured.energy_wh, measured.places), (29_501, 3));
    assert_eq!((measured.begin, measured.end), (2_935_600_000, 2_965_101_000));
    assert!(measured.time_is_legal);
}

#[test]
fn readings_leave_out_what_the_one_before_them_had() {
    let text = "OCMF|{\"PG\":\"T1\",\"RD\":[\
        {\"TM\":\"2018-07-24T13:22:04,000+0200 S\",\"TX\":\"B\",\"RV\":1.50,\"RI\":\"1-b:1.8.0\",\
        \"RU\":\"kWh\",\"ST\":\"G\"},\
        {\"TM\":\"2018-07-24T13:23:04,000+0200 S\",\"TX\":\"C\",\"RV\":2.5},\
        {\"TM\":\"2018-07-24T13:24:04,000+0200 S\",\"RV\":3.5},\
        {\"TM\":\"2018-07-24T13:25:04,000+0200 S\",\"TX\":\"L\",\"RV\":4.75}]}|{\"SD\":\"00\"}";
    let record = Record::parse(text.as_bytes()).unwrap();
    let of = |reading: &Reading| (reading.transaction.unwrap(), reading.status);
    let states: Vec<_> = record.readings.iter().map(of).collect();
    assert_eq!(states, [('B', 'G'), ('C', 'G'), ('C', 'G'), ('L', 'G')]);
    assert!(record.readings.iter().all(|reading| reading.register.is_some()));
    assert_eq!(measured(&[record]).unwrap().energy_wh, 3250);
}

/// A session of two records after a change of its text, which has to be refused with these words.
fn check_series(from: &str, to: &str, words: &str) {
    let changed: Vec<Record> = p256()
        .records
        .iter()
        .enumerate()
        .map(|(i, text)| if i == 1 { text.replace(from, to) } else { text.clone() })
        .map(|text| Record::parse(text.as_bytes()).expect("still OCMF"))
        .collect();
    let error = measured(&changed).expect_err(words);
    assert!(matches!(error, OcmfError::Series(_)));
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_broken_session_is_not_measured() {
    check_series("T43", "T44", "does not follow");
    check_series("T43", "F43", "does not follow");
    check_series("BQ27400330016", "BQ27400330017", "another meter");
    check_series("\"TX\":\"E\"", "\"TX\":\"C\"", "not the end");
    check_series("2965.101", "2935.599", "backwards");
    check_series("\"EF\":\"\"", "\"EF\":\"E\"", "unusable");
    check_series("\"ST\":\"G\"", "\"ST\":\"M\"", "state");
    check_series("1-b:1.8.0", "1-b:2.8.0", "two registers");
    check_series("\"RU\":\"kWh\"", "\"RU\":\"mOhm\"", "no energy");
    let one = &p256().parsed()[..1];
    assert!(measured(one).is_err(), "a begin without an end");
    assert!(measured(&[]).is_err());
}

#[test]
fn the_time_is_legal_only_when_clock_and_meter_say_so() {
    let legal = |from: &str, to: &str| {
        let text = |text: &String| Record::parse(text.replace(from, to).as_bytes()).unwrap();
        measured(&p256().records.iter().map(text).collect::<Vec<_>>()).unwrap().time_is_legal
    };
    assert!(legal("0 S\"", "0 R\""));
    assert!(!legal("0 S\"", "0 I\""));
    assert!(!legal("\"EF\":\"\"", "\"EF\":\"t\""));
}

#[test]
fn what_is_no_ocmf_is_refused_and_said() {
    let refused = |text: &str| Record::parse(text.as_bytes()).unwrap_err();
    let good = p256().records[0].clone();
    assert_eq!(refused(""), OcmfError::Sections);
    assert_eq!(refused("OCMF|{}"), OcmfError::Sections);
    assert_eq!(refused(&good.replacen("OCMF", "ocmf", 1)), OcmfError::Sections);
    assert_eq!(refused(&format!("{good}|{{}}")), OcmfError::Sections);
    assert!(matches!(refused("OCMF|{}|{}"), OcmfError::Json { section: "payload", .. }));
    assert!(matches!(Record::parse(&[0xff; 9]), Err(OcmfError::Sections)));
    assert!(matches!(Record::parse(&[b' '; 70_000]), Err(OcmfError::TooLong { .. })));
    for (from, to, key) in [
        ("T42", "X42", "PG"),
        ("T42", "T+2", "PG"),
        ("2935.60", "1e3", "RV"),
        ("2935.60", "123456789012345678901", "RV"),
        ("kWh", "kW", "RU"),
        ("+0100 S", "+0100 Q", "TM"),
        ("2026-03-28", "26-03-28", "TM"),
        ("\"ST\":\"G\"", "\"ST\":\"GG\"", "ST"),
        ("\"EF\":\"\"", "\"EF\":\"x\"", "EF"),
    ] {
        let error = refused(&good.replace(from, to));
        assert!(matches!(error, OcmfError::Field { field, .. } if field == key), "{to}: {error}");
    }
}

#[test]
fn keys_come_in_hex_base64_and_pem_or_not_at_all() {
    use base64::Engine as _;
    let session = p256();
    let hex = session.key.clone().unwrap();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
    for text in [hex.to_uppercase(), base64, pem] {
        assert_eq!(PublicKey::parse(&text).unwrap(), session.key());
    }
    for end in 0..bytes.len() {
        assert!(PublicKey::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(PublicKey::parse("").is_err());
    assert!(PublicKey::parse("zz").is_err());
    assert!(PublicKey::parse(&"30".repeat(2000)).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        from in 0_usize..400, length in 0_usize..40, put in "[ -~]{0,12}", which in 0_usize..2,
    ) {
        let mut text = p256().records[which].clone();
        let from = from.min(text.len());
        let until = (from + length).min(text.len());
        text.replace_range(from..until, &put);
        if let Ok(record) = Record::parse(text.as_bytes()) {
            assert_eq!(record.raw(), text.as_bytes());
            let payload = record.payload();
            let kept = text.as_bytes().windows(payload.len()).any(|bytes| bytes == payload);
            assert!(kept, "the payload is bytes of the record");
            let _ = (verify(&record, &p256().key()), measured(&[record]));
        }
    }
}
