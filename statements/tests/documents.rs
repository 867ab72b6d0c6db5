//! Reports, settlement statements, invoices: what they say, what they refuse, how they are printed.

mod common;

use common::{account, at, bill, document, golden, march, session};
use novax_model::{Currency, Micros, Timestamp};
use novax_statements::facts::{
    AccountFacts, CorrectionFacts, Dimension, DocumentFacts, EntryKind, Minor, SessionFacts,
    ShareFacts,
};
use novax_statements::{
    BookedTotals, CreditedSession, GroupBy, Invoice, Language, Printed, Stamp, StatementError,
    Stored, TaxCode, credit_note, credit_sessions, invoice, receipt, revenue_report,
    settlement_statement,
};
use proptest::prelude::*;

const PARTIES: [&str; 3] = ["operator", "platform", "site-host/harbour"];

/// What a ledger has booked for sessions in March, counted from its side: entry by entry.
fn booked(sessions: &[SessionFacts]) -> BookedTotals {
    let mut totals = BookedTotals::default();
    let mut post = |at: Timestamp, net: Minor, tax: Minor, shares: &[ShareFacts]| {
        if march().contains(at) {
            totals.net += net;
            totals.tax += tax;
            for share in shares {
                *totals.parties.entry(share.party.clone()).or_default() += share.amount;
            }
        }
    };
    for facts in sessions {
        post(facts.booked, facts.net, facts.tax, &facts.shares);
        for c in &facts.corrections {
            post(c.booked, c.net, c.tax, &c.shares);
        }
    }
    totals
}

fn charged(sessions: &[SessionFacts]) -> Minor {
    let totals = booked(sessions);
    totals.net + totals.tax
}

/// The session once stopped later than it was billed: half a kilowatt-hour more.
fn correction() -> CorrectionFacts {
    let share = |party: &str, amount| ShareFacts {
        party: party.into(),
        purpose: "percentage".into(),
        amount,
    };
    CorrectionFacts {
        booked: at("2026-03-30T10:00:00Z"),
        reason: "the true stop".into(),
        energy_wh: 500,
        net: 20,
        tax: 4,
        shares: vec![share("operator", 14), share("site-host/harbour", 6)],
    }
}

fn month() -> Vec<SessionFacts> {
    let mut sessions = vec![session(1), session(2), session(3)];
    sessions[1].corrections = vec![correction()];
    sessions[2].place.site = "=cmd|' /C calc'!A0, \"market\"".into();
    sessions[2].operator.party = "ABC".into();
    sessions
}

#[test]
fn a_report_counts_what_was_booked_in_its_period() {
    let mut sessions = month();
    // Late in March by UTC, but April by the clocks of Berlin.
    sessions[0].booked = at("2026-03-31T22:00:00Z");
    let totals = booked(&sessions);
    let report = revenue_report(&march(), GroupBy::Site, Currency::EUR, &sessions, &totals);
    let report = report.unwrap();
    assert_eq!((report.total.sessions, report.total.corrections), (2, 1));
    assert_eq!((report.total.net, report.total.tax, report.total.gross), (2022, 384, 2406));
    assert_eq!(report.total.energy_wh, 2 * 23_456 + 500);
    let names: Vec<&str> = report.rows.iter().map(|row| &*row.name).collect();
    assert_eq!(names, ["=cmd|' /C calc'!A0, \"market\"", "harbour"]);
}

#[test]
fn a_report_the_ledger_does_not_confirm_is_none() {
    let sessions = month();
    let good = booked(&sessions);
    let report =
        |by, totals: &BookedTotals| revenue_report(&march(), by, Currency::EUR, &sessions, totals);
    let differs = |result: Result<_, _>| {
        assert!(matches!(result, Err(StatementError::Differs { .. })), "{result:?}");
    };
    assert!(report(GroupBy::Party, &good).is_ok());
    let (mut net, mut tax, mut share, mut stranger) =
        (good.clone(), good.clone(), good.clone(), good.clone());
    net.net += 1;
    tax.tax -= 1;
    *share.parties.get_mut("operator").unwrap() += 1;
    stranger.parties.insert("utility/grid".into(), 3);
    differs(report(GroupBy::Site, &net));
    differs(report(GroupBy::Operator, &tax));
    differs(report(GroupBy::Party, &share));
    differs(report(GroupBy::Party, &stranger));
    let yen = Currency::new("JPY").unwrap();
    let mixed = revenue_report(&march(), GroupBy::Site, yen, &sessions, &good);
    assert!(matches!(mixed, Err(StatementError::MixedCurrencies { .. })));
}

#[test]
fn a_statement_leads_from_opening_to_closing() {
    let sessions = month();
    let more = [
        (EntryKind::Fee, "2026-03", -300),
        (EntryKind::Guarantee, "2026-03", 150),
        (EntryKind::Adjustment, "chargeback-4", -40),
        (EntryKind::Payout, "PO-9", -900),
    ];
    let host = "site-host/harbour";
    let accounts = [account(host, &sessions, &more)];
    let document = document("SET", 3);
    let statement = settlement_statement(&document, host, &accounts, &sessions).unwrap();
    assert_eq!((statement.opening, statement.sessions.len()), (1000, 3));
    let share = (1001 - 5) * 3 / 10;
    assert_eq!(statement.closing, 1000 + 3 * share + 6 - 300 + 150 - 40 - 900);
    let sums: Vec<_> = statement.sums.iter().map(|sum| (sum.kind, sum.amount)).collect();
    assert_eq!(
        sums,
        [
            (EntryKind::Share, 3 * share),
            (EntryKind::Adjustment, 6 - 40),
            (EntryKind::Fee, -300),
            (EntryKind::Guarantee, 150),
            (EntryKind::Payout, -900)
        ]
    );
    let sheet = statement.sheet().unwrap();
    golden("settlement.json", &sheet.json());
    golden("settlement.csv", &sheet.csv());
    golden("settlement_entries.csv", &sheet.csv_of("entries").unwrap());
    golden("settlement_de.html", &sheet.html(Language::De));
}

#[test]
fn a_statement_that_the_account_does_not_confirm_is_none() {
    let sessions = month();
    let host = "site-host/harbour";
    let good = account(host, &sessions, &[]);
    let make = |accounts: &[_], sessions: &[SessionFacts]| {
        settlement_statement(&document("SET", 3), host, accounts, sessions)
    };
    assert!(make(std::slice::from_ref(&good), &sessions).is_ok());
    let differs = |result| matches!(result, Err(StatementError::Differs { .. }));
    assert!(
        differs(make(std::slice::from_ref(&good), &sessions[..2])),
        "a share of an unknown session"
    );
    assert!(differs(make(&[], &sessions)), "shares that were not booked");
    let mut broken = good.clone();
    broken.entries[1].balance += 1;
    assert!(differs(make(&[broken], &sessions)), "a running balance that does not run");
    let mut missing = good.clone();
    missing.entries.pop();
    assert!(differs(make(&[missing], &sessions)), "an entry is missing");
    let mut late = good;
    late.entries.last_mut().unwrap().booked = march().until;
    assert!(matches!(make(&[late], &sessions), Err(StatementError::OutOfOrder { .. })));
}

#[test]
fn an_account_of_several_partitions_is_one_statement() {
    let sessions = month();
    let (here, there) = (&sessions[..1], &sessions[1..]);
    let accounts = [account("operator", here, &[]), account("operator", there, &[])];
    let statement = settlement_statement(&document("SET", 4), "operator", &accounts, &sessions);
    let statement = statement.unwrap();
    assert_eq!(statement.opening, 2000);
    assert_eq!(statement.sessions.len(), 3);
    assert_eq!(statement.closing, accounts.iter().map(AccountFacts::closing).sum::<Minor>());
}

#[test]
fn an_invoice_rounds_tax_once_and_is_due_what_the_ledger_says() {
    let sessions = month();
    let invoice = invoice(&document("INV", 17), &sessions, charged(&sessions)).unwrap();
    let [part] = &invoice.breakdown[..] else { panic!("one category") };
    assert_eq!(part.rate.code, TaxCode::Standard);
    // 30.23 at 19 % is 5.7437; the ledger booked 1.90 three times and 0.04.
    assert_eq!((part.taxable, &part.amounts[..], part.booked), (3023, &[574][..], 574));
    assert_eq!((invoice.totals.gross, invoice.totals.due), (3597, 3597));
    assert_eq!(invoice.lines.len(), 10);
    let sheet = invoice.sheet().unwrap();
    golden("invoice.json", &sheet.json());
    golden("invoice.csv", &sheet.csv());
    golden("invoice_en.html", &sheet.html(Language::En));
    golden("invoice_de.html", &sheet.html(Language::De));
}

/// Sessions of 1.30 EUR: 19 % of it is 0.247, booked as 0.25 each.
fn small(count: u128) -> Vec<SessionFacts> {
    let one = |number| {
        let mut facts = session(number);
        bill(&mut facts, &[(Dimension::Energy, 23_456, 130)], &[("VAT", 190_000)]);
        facts
    };
    (1..=count).map(one).collect()
}

#[test]
fn what_once_and_each_differ_by_is_the_rounding_amount() {
    let mut sessions = small(10);
    sessions[0].paid = 155;
    let invoice = invoice(&document("INV", 18), &sessions, charged(&sessions)).unwrap();
    let totals = invoice.totals;
    // Once: 13.00 at 19 % is 2.47. Each: ten times 0.25.
    assert_eq!((totals.net, totals.tax, totals.gross), (1300, 247, 1547));
    assert_eq!((totals.paid, totals.rounding, totals.due), (155, 3, 1395));
    assert_eq!(totals.due, charged(&sessions) - 155);
    assert!(invoice.sheet().unwrap().html(Language::De).contains("Rundung"));
}

#[test]
fn an_invoice_that_the_ledger_does_not_confirm_is_none() {
    let sessions = month();
    let books = charged(&sessions);
    let off = invoice(&document("INV", 17), &sessions, books + 1);
    assert!(matches!(off, Err(StatementError::Differs { .. })));
    // A tax that no rounding explains: the session adds up in itself.
    let mut sessions = small(2);
    let facts = &mut sessions[0];
    facts.categories[0].taxes[0].amount += 3;
    facts.lines[0].tax += 3;
    facts.tax += 3;
    facts.gross += 3;
    let books = charged(&sessions);
    let wrong = invoice(&document("INV", 17), &sessions, books);
    assert!(matches!(wrong, Err(StatementError::Differs { .. })), "{wrong:?}");
}

#[test]
fn an_invoice_says_what_it_has_to() {
    let sessions = small(1);
    let make = |change: &dyn Fn(&mut novax_statements::facts::DocumentFacts)| {
        let mut document = document("INV", 17);
        change(&mut document);
        invoice(&document, &sessions, charged(&sessions))
    };
    let missing = |result| matches!(result, Err(StatementError::Missing { .. }));
    assert!(missing(make(&|d| d.number = 0)));
    assert!(missing(make(&|d| d.series = " ".into())));
    assert!(missing(make(&|d| d.seller.name = "".into())));
    assert!(missing(make(&|d| d.seller.vat_id = None)));
    assert!(missing(make(&|d| d.buyer.country = "".into())));
    assert!(make(&|d| d.buyer.vat_id = None).is_ok(), "a consumer has none");
    let zone = make(&|d| d.period.zone = "Mars/Olympus".into()).unwrap().sheet();
    assert!(matches!(zone, Err(StatementError::UnknownZone(_))));
}

#[test]
fn reverse_charge_has_no_tax_both_ids_and_its_words() {
    let mut sessions = small(1);
    bill(&mut sessions[0], &[(Dimension::Energy, 23_456, 130)], &[]);
    sessions[0].reverse_charge = true;
    let mut document = document("INV", 19);
    let made = invoice(&document, &sessions, 130).unwrap();
    assert_eq!(made.breakdown[0].rate.code, TaxCode::ReverseCharge);
    assert_eq!((made.totals.tax, made.totals.due), (0, 130));
    let sheet = made.sheet().unwrap();
    assert!(sheet.html(Language::De).contains("Steuerschuldnerschaft des Leistungsempfängers"));
    assert!(sheet.html(Language::En).contains("Reverse charge"));
    assert!(sheet.json().contains(r#""notes":["reverse_charge""#));
    document.buyer.vat_id = None;
    assert!(matches!(invoice(&document, &sessions, 130), Err(StatementError::Missing { .. })));
}

#[test]
fn several_taxes_and_rates_are_categories_apart() {
    let mut sessions = small(3);
    let lines = [(Dimension::Energy, 23_456, 1001)];
    bill(&mut sessions[0], &lines, &[("GST", 50_000), ("QST", 99_750)]);
    bill(&mut sessions[1], &lines, &[("VAT", 0)]);
    let invoice = invoice(&document("INV", 20), &sessions, charged(&sessions)).unwrap();
    let codes: Vec<_> = invoice.breakdown.iter().map(|part| part.rate.code.letters()).collect();
    assert_eq!(codes, ["S", "S", "Z"]);
    let canada = invoice.breakdown.iter().find(|part| part.amounts.len() == 2).unwrap();
    assert_eq!((canada.taxable, &canada.amounts[..]), (1001, &[50, 100][..]));
    let taxes = invoice.sheet().unwrap().csv_of("taxes").unwrap();
    assert!(taxes.contains("S,QST,9.975,10.01,1.00\r\n"), "{taxes}");
    assert!(taxes.contains("Z,VAT,0,10.01,0.00\r\n"), "{taxes}");
}

fn the_invoice() -> Invoice {
    let sessions = month();
    invoice(&document("INV", 17), &sessions, charged(&sessions)).unwrap()
}

#[test]
fn a_credit_note_takes_back_all_or_some_lines_and_names_the_original() {
    let original = the_invoice();
    let whole = credit_note(&document("CRN", 1), &original, None).unwrap();
    assert_eq!(whole.totals.net, original.totals.net);
    assert_eq!(whole.breakdown, original.breakdown);
    assert_eq!(whole.document.original.as_ref().unwrap().number, "INV-17".into());
    let some = credit_note(&document("CRN", 2), &original, Some(&[1, 3])).unwrap();
    assert_eq!(some.lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((some.totals.net, some.totals.tax), (965, 183));
    golden("credit_note_de.html", &some.sheet().unwrap().html(Language::De));
    for lines in [&[1, 1][..], &[11], &[0]] {
        let refused = credit_note(&document("CRN", 3), &original, Some(lines));
        assert!(matches!(refused, Err(StatementError::NotInOriginal { .. })), "{lines:?}");
    }
}

#[test]
fn a_receipt_is_for_one_session_and_anybody() {
    let mut facts = session(5);
    facts.paid = facts.gross;
    let mut document = document("REC", 5);
    document.buyer = Default::default();
    let receipt = receipt(&document, &facts, 1191).unwrap();
    assert_eq!((receipt.totals.gross, receipt.totals.paid, receipt.totals.due), (1191, 1191, 0));
    let page = receipt.sheet().unwrap().html(Language::De);
    // Half past eleven at night in winter time, the end an hour and a half later.
    assert!(page.contains("28.03.2026 23:30") && page.contains("29.03.2026 01:00"), "{page}");
    golden("receipt_de.html", &page);
}

#[test]
fn a_price_is_printed_as_listed_where_the_net_follows_from_it() {
    let invoice = the_invoice();
    assert_eq!(invoice.lines[0].price, Micros(390_000), "0.39 a kWh, 23.456 kWh, 9.15");
    let mut sessions = small(1);
    sessions[0].lines[0].price = Micros(6_600);
    let made = crate::invoice(&document("INV", 22), &sessions, charged(&sessions)).unwrap();
    assert_eq!(made.lines[0].price, Micros(55_423), "listed with tax: 1.30 of 23.456 kWh");
}

#[test]
fn quantity_times_price_is_the_net_again() {
    for line in &the_invoice().lines {
        let Micros(quantity) = line.quantity;
        let product = quantity * line.price.0;
        // Both in millionths: 10^12, and a cent is 10^10 of it.
        assert_eq!((product + 5_000_000_000) / 10_000_000_000, line.net, "{line:?}");
    }
}

#[test]
fn what_comes_from_outside_is_text_in_every_rendering() {
    let mut sessions = month();
    sessions[0].place.name = Some("<script>alert('1')</script>\u{1}".into());
    let made = invoice(&document("INV", 21), &sessions, charged(&sessions)).unwrap();
    let sheet = made.sheet().unwrap();
    let page = sheet.html(Language::En);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(&#39;1&#39;)"));
    assert!(page.contains("Müller &amp; Söhne &quot;Fuhrpark&quot;"));
    assert!(!page.contains('\u{1}'));
    let _: serde_json::Value = serde_json::from_str(&sheet.json()).expect("JSON");
    let totals = booked(&sessions);
    let report = revenue_report(&march(), GroupBy::Site, Currency::EUR, &sessions, &totals);
    let csv = report.unwrap().sheet().unwrap().csv();
    let first = csv.lines().nth(1).unwrap();
    assert!(first.starts_with("\"'=cmd|' /C calc'!A0, \"\"market\"\"\",1,0,"), "{first}");
    golden("revenue_site.csv", &csv);
}

#[test]
fn a_report_by_party_prints_shares_and_their_sum() {
    let sessions = month();
    let totals = booked(&sessions);
    let report = revenue_report(&march(), GroupBy::Party, Currency::EUR, &sessions, &totals);
    let sheet = report.unwrap().sheet().unwrap();
    golden("revenue_party.csv", &sheet.csv());
    golden("revenue_party.json", &sheet.json());
    golden("revenue_party_de.html", &sheet.html(Language::De));
}

#[test]
fn amounts_have_the_places_of_their_currency() {
    for (code, net) in [("JPY", "1001"), ("KWD", "1.001"), ("EUR", "10.01")] {
        let mut facts = session(1);
        facts.currency = Currency::new(code).unwrap();
        let totals = BookedTotals { net: 1001, tax: 190, ..BookedTotals::default() };
        let of = facts.currency;
        let report = revenue_report(&march(), GroupBy::Operator, of, &[facts], &totals).unwrap();
        let csv = report.sheet().unwrap().csv();
        assert!(csv.contains(&format!("DE*NVX,1,0,23.456,{net},")), "{csv}");
    }
}

prop_compose! {
    fn any_session()(
        number in 1_u128..1000,
        nets in prop::collection::vec(0_i128..50_000, 1..5),
        rate in prop::sample::select(vec![0_u32, 55_000, 77_000, 190_000, 255_000]),
        site in 0_u8..3,
        hour in 0_u64..1_200,
        corrected in prop::option::of((-200_i128..200, 0_u64..1_200)),
        paid in any::<bool>(),
    ) -> SessionFacts {
        let mut facts = session(number);
        let lines: Vec<_> = nets.iter().map(|&net| (Dimension::Energy, 23_456, net)).collect();
        bill(&mut facts, &lines, &[("VAT", rate)]);
        facts.place.site = format!("site-{site}").into();
        let booked = |hour: u64| Timestamp(at("2026-02-20T00:00:00Z").0 + hour * common::HOUR_US);
        facts.booked = booked(hour);
        facts.paid = if paid && march().contains(facts.booked) { facts.gross } else { 0 };
        if let Some((net, hour)) = corrected {
            let tax = net * i128::from(rate) / 1_000_000;
            let share = |party: &str, amount| ShareFacts {
                party: party.into(), purpose: "rest".into(), amount,
            };
            facts.corrections = vec![CorrectionFacts {
                booked: booked(hour),
                net,
                tax,
                energy_wh: 1,
                shares: vec![share("operator", net - net / 3), share("platform", net / 3)],
                ..correction()
            }];
        }
        facts
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_sum_to_totals_and_totals_are_the_ledgers(
        mut sessions in prop::collection::vec(any_session(), 0..12),
    ) {
        for (i, facts) in sessions.iter_mut().enumerate() {
            facts.session = novax_model::SessionId(i as u128);
        }
        let totals = booked(&sessions);
        for by in [GroupBy::Operator, GroupBy::Site, GroupBy::Party] {
            let report = revenue_report(&march(), by, Currency::EUR, &sessions, &totals).unwrap();
            assert_eq!(report.rows.iter().map(|row| row.net).sum::<Minor>(), totals.net);
            assert_eq!(report.total.net, totals.net);
            let of_rows: Minor = report.rows.iter().map(|row| row.gross).sum();
            assert_eq!(of_rows, report.total.gross);
            if by != GroupBy::Party {
                assert_eq!(report.total.gross, totals.net + totals.tax);
            }
            let csv = report.sheet().unwrap().csv();
            assert_eq!(csv.lines().count(), report.rows.len() + 1);
        }
        // The document is of March; so are its sessions and their corrections.
        let mut own = sessions.clone();
        own.retain(|facts| march().contains(facts.booked));
        own.iter_mut().for_each(|f| f.corrections.retain(|c| march().contains(c.booked)));
        let books = charged(&own);
        let made = invoice(&document("INV", 1), &own, books).unwrap();
        let paid: Minor = own.iter().map(|facts| facts.paid).sum();
        assert_eq!(made.totals.due, books - paid);
        let parts: Minor = made.breakdown.iter().map(|p| p.taxable + p.amounts[0]).sum();
        assert_eq!(parts, made.totals.gross);
        assert_eq!(made.totals.gross + made.totals.rounding, books);
        for party in PARTIES {
            let accounts = [account(party, &own, &[(EntryKind::Payout, "PO", -77)])];
            let document = document("SET", 1);
            let made = settlement_statement(&document, party, &accounts, &own).unwrap();
            let earned = booked(&own).parties.get(party).copied().unwrap_or(0);
            assert_eq!(made.closing, 1000 + earned - 77, "{party}");
        }
    }
}

fn stamp(document: &DocumentFacts) -> Stamp {
    Stamp {
        series: document.series.clone(),
        number: document.number,
        issued: document.issued,
        due: document.due,
    }
}

#[test]
fn what_is_kept_of_a_document_prints_as_the_document_did() {
    let sessions = [session(1), session(2)];
    let books: Minor = sessions.iter().map(|facts| facts.gross).sum();
    let made = invoice(&document("INV", 7), &sessions, books).unwrap();
    let (party, entries) = ("site-host/harbour", [(EntryKind::Payout, "p1", -500)]);
    let account = account(party, &sessions, &entries);
    let statement =
        settlement_statement(&document("SET", 3), party, &[account], &sessions).unwrap();
    for stored in [Stored::Invoice(made), Stored::Settlement(statement)] {
        let document = match &stored {
            Stored::Invoice(invoice) => invoice.document.clone(),
            Stored::Settlement(statement) => statement.document.clone(),
        };
        let facts = stored.facts();
        let text = std::str::from_utf8(&facts).unwrap();
        assert!(text.contains(r#""series":"","number":0,"issued":0,"due":null"#), "{text}");
        let read = Stored::read(&facts, stamp(&document)).unwrap();
        assert_eq!(read, stored);
        assert_eq!(read.facts(), facts, "the same bytes");
        assert_eq!(read.sheet().unwrap().json(), stored.sheet().unwrap().json());
        for at in [0, facts.len() / 2, facts.len() - 1] {
            let cut = Stored::read(&facts[..at], stamp(&document));
            assert!(matches!(cut, Err(StatementError::Unreadable(_))), "{cut:?}");
        }
    }
}

#[test]
fn a_part_of_a_session_is_taken_back_as_the_ledger_booked_it() {
    let facts = [session(1), session(2)];
    let books: Minor = facts.iter().map(|facts| facts.gross).sum();
    let original = invoice(&document("INV", 7), &facts, books).unwrap();
    let credited = |number, net, tax| {
        let session = novax_model::SessionId(number);
        CreditedSession { session, net, tax }
    };
    let note = credit_sessions(&document("CN", 1), &original, &[credited(2, 100, 19)]).unwrap();
    assert_eq!((note.totals.net, note.totals.tax, note.totals.due), (100, 19, 119));
    assert_eq!(note.document.original.as_ref().map(|of| &*of.number), Some("INV-7"));
    assert_eq!(note.lines.len(), 1);
    assert_eq!(note.lines[0].number, 4, "the first line of the second session");
    let unknown = credit_sessions(&document("CN", 1), &original, &[credited(3, 1, 0)]);
    assert!(matches!(unknown, Err(StatementError::NotInOriginal { .. })), "{unknown:?}");
    let wrong_tax = credit_sessions(&document("CN", 1), &original, &[credited(1, 100, 40)]);
    assert!(matches!(wrong_tax, Err(StatementError::Differs { .. })), "{wrong_tax:?}");
}
