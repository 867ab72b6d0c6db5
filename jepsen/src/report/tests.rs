use super::*;
use crate::check::gaps::gaps;
use crate::op::{End, Value};

const MS: u64 = 1_000_000;

fn call(process: u64, invoked: u64, from_ms: u64, took_ms: Option<u64>, end: End) -> Call {
    Call {
        process,
        f: "write".to_owned(),
        argument: Value::Int(1),
        invoked,
        completed: took_ms.map(|_| invoked + 1),
        invoked_ns: from_ms * MS,
        completed_ns: took_ms.map(|took| (from_ms + took) * MS),
        end,
    }
}

/// A small run: two lanes, one of which goes on as another process, and a node that is killed.
fn scene() -> (Vec<Call>, Vec<FaultSpan>) {
    let ok = || End::Ok(Value::Int(1));
    let mut calls: Vec<Call> =
        (0..20).map(|n| call(n % 2, 2 * n, 150 * n, Some(3 + n % 7), ok())).collect();
    calls.push(call(0, 40, 3_020, None, End::Unknown("the <socket> broke".to_owned())));
    calls.push(call(1, 42, 3_050, Some(900), End::Fail("503 \"later\" & more".to_owned())));
    calls.extend((0..8).map(|n| call(1 + n % 2, 44 + 2 * n, 4_400 + 200 * n, Some(20), ok())));
    let fault = FaultSpan {
        name: "kill-one".to_owned(),
        detail: "n1".to_owned(),
        from_ns: 3_000 * MS,
        to_ns: Some(4_300 * MS),
    };
    (calls, vec![fault])
}

fn report(verdict: Verdict, calls: &[Call], faults: &[FaultSpan]) -> Report {
    Report {
        workload: "register".to_owned(),
        faults: vec!["kill-one".to_owned()],
        nodes: 1,
        seed: 42,
        verdict,
        counts: Counts { ok: 28, fail: 1, unknown: 1, installed: 1, ..Counts::default() },
        gaps: gaps(calls, faults),
    }
}

/// The page of the scene, as committed. `NOVAX_BLESS=1` writes it anew.
#[test]
fn a_run_makes_its_page_byte_for_byte() {
    let (calls, faults) = scene();
    let findings = vec!["register-3: Read(Some(7)) fits <nowhere>".to_owned()];
    let report = report(Verdict::of(findings), &calls, &faults);
    let html = render(&Page { report: &report, calls: &calls, faults: &faults, leads: &[] });
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/report.html");
    if std::env::var_os("NOVAX_BLESS").is_some() {
        std::fs::write(&path, &html).expect("written");
    }
    let golden = std::fs::read_to_string(&path).expect("the committed page");
    assert!(html == golden, "the page changed: look at it, then bless it with NOVAX_BLESS=1");
}

#[test]
fn a_page_is_whole_in_itself_and_nothing_of_a_history_is_markup() {
    let (calls, faults) = scene();
    let report = report(Verdict::Passed, &calls, &faults);
    let html = render(&Page { report: &report, calls: &calls, faults: &faults, leads: &[] });
    for outside in ["http://", "https://", "<script", "<link", "url(", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(!html.contains("<socket>") && html.contains("&lt;socket&gt;"));
    assert!(html.contains("1403 ms") || html.contains("ms</td>"), "the gap is shown");
    for tag in ["svg", "table", "html", "body", "rect", "title"] {
        let count = |text: &str| html.matches(text).count();
        let opened = count(&format!("<{tag} ")) + count(&format!("<{tag}>"));
        assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
    }
}

#[test]
fn a_page_of_a_cluster_says_who_led_when_it_was_broken() {
    let (calls, faults) = scene();
    let led = |partition, node, from_ms: u64, to_ms: Option<u64>| LeadSpan {
        partition,
        node,
        from_ns: from_ms * MS,
        to_ns: to_ms.map(|to| to * MS),
    };
    let leads = [
        led(0, 1, 10, Some(3_050)),
        led(0, 2, 3_900, None),
        led(1, 2, 10, None),
        led(2, 3, 3_500, None),
    ];
    let report = report(Verdict::Passed, &calls, &faults);
    let page = Page { report: &report, calls: &calls, faults: &faults, leads: &leads };
    let html = render(&page);
    assert!(html.contains("<th>who led</th>") && html.contains("<td>n1: 0, n2: 1</td>"), "{html}");
    assert_eq!(html.matches("<title>partition 0: n1</title>").count(), 1);
    assert_eq!(html.matches("<title>partition 0: n2</title>").count(), 1);
}

#[test]
fn a_page_of_very_many_calls_is_bounded_and_shows_what_went_wrong() {
    let mut calls: Vec<Call> =
        (0..200_000).map(|n| call(n % 8, 2 * n, n, Some(1), End::Ok(Value::Nil))).collect();
    calls[777].end = End::Fail("odd".to_owned());
    let report = report(Verdict::Passed, &calls, &[]);
    let html = render(&Page { report: &report, calls: &calls, faults: &[], leads: &[] });
    assert!(html.len() < 2 << 20, "{} bytes", html.len());
    assert!(html.contains("write fail: odd"));
    assert!(html.contains("of 200000 calls are drawn"));
}

#[test]
fn a_run_without_a_history_has_a_page() {
    let report = report(Verdict::broken("no node"), &[], &[]);
    let html = render(&Page { report: &report, calls: &[], faults: &[], leads: &[] });
    assert!(html.contains("broken") && html.contains("no node"));
}
