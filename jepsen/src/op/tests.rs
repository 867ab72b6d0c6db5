use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn ops(folder: &tempfile::TempDir) -> Vec<Op> {
    read(&folder.path().join("history.jsonl")).expect("a history")
}

#[test]
fn a_history_reads_back_as_it_happened() {
    let folder = folder();
    let recorder = Recorder::create(folder.path(), 2, 100).expect("made");
    let write = recorder.invoke(0, "write", Value::ints([3, 7])).expect("room");
    let read = recorder.invoke(1, "read", Value::ints([3])).expect("room");
    write.ok(Value::Nil);
    read.unknown("the socket broke");
    recorder.nemesis("kill-one", Value::map([("phase", "install".into())]));
    let again = recorder.invoke(1, "read", Value::ints([3])).expect("room");
    again.fail("refused");
    drop(recorder.invoke(0, "write", Value::Nil).expect("room"));
    assert_eq!(recorder.lines(), 9);
    recorder.finish().expect("whole");
    let calls = calls(&ops(&folder)).expect("pairs");
    let seen: Vec<_> =
        calls.iter().map(|call| (call.process, call.invoked, call.returned())).collect();
    // What is not known never returned; the lane went on as process 3.
    assert_eq!(seen, [(0, 0, Some(2)), (1, 1, None), (3, 5, Some(6)), (0, 7, None)]);
    assert_eq!(calls[0].answer(), Some(&Value::Nil));
    assert_eq!(calls[1].end, End::Unknown("the socket broke".to_owned()));
    assert_eq!(calls[2].end, End::Fail("refused".to_owned()));
    assert!(!calls[2].may_have_happened());
    assert!(calls[3].may_have_happened(), "a client that is gone may have done it");
}

#[test]
fn edn_is_what_elle_and_knossos_read() {
    let value = Value::map([
        ("r", Value::List(vec![Value::Nil, Value::Bool(true), Value::Int(-5)])),
        ("not a keyword", "say \"no\"\n\u{1}".into()),
    ]);
    let op = Op {
        index: 4,
        time_ns: 99,
        kind: Kind::Info,
        process: Process::Client(7),
        f: "cas".to_owned(),
        value,
        error: Some("a\\b".to_owned()),
    };
    assert_eq!(
        op.to_string(),
        "{:index 4, :time 99, :type :info, :process 7, :f :cas, :value \
         {\"not a keyword\" \"say \\\"no\\\"\\n\\u0001\", :r [nil true -5]}, :error \"a\\\\b\"}"
    );
    let nemesis = Op { process: Process::Nemesis, f: String::new(), error: None, ..op };
    assert!(nemesis.to_string().contains(":process :nemesis, :f \"\", :value"));
    let json = serde_json::to_string(&nemesis).expect("plain");
    assert_eq!(serde_json::from_str::<Op>(&json).expect("reads back"), nemesis);
}

#[test]
fn a_torn_last_line_is_left_out_and_any_other_is_an_error() {
    let folder = folder();
    let recorder = Recorder::create(folder.path(), 1, 100).expect("made");
    recorder.invoke(0, "read", Value::Nil).expect("room").ok(Value::Int(1));
    recorder.finish().expect("whole");
    let path = folder.path().join("history.jsonl");
    let whole = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, &whole[..whole.len() - 3]).expect("written");
    let torn = calls(&ops(&folder)).expect("pairs");
    assert_eq!(torn.len(), 1);
    assert_eq!(torn[0].end, End::Unknown("the history ends".to_owned()));
    std::fs::write(&path, format!("junk\n{whole}")).expect("written");
    assert!(matches!(read(&path), Err(HarnessError::HistoryLine { line: 1, .. })));
    assert!(Recorder::create(folder.path(), 1, 100).is_err(), "evidence is not written over");
}

#[test]
fn a_history_is_bounded_and_what_began_can_still_end() {
    let folder = folder();
    let recorder = Recorder::create(folder.path(), 3, 5).expect("made");
    let first = recorder.invoke(0, "read", Value::Nil).expect("room");
    let second = recorder.invoke(1, "read", Value::Nil).expect("room");
    let full = recorder.invoke(2, "read", Value::Nil);
    assert!(matches!(&full, Err(HarnessError::HistoryFull(5))));
    drop(full);
    first.ok(Value::Nil);
    second.ok(Value::Nil);
    assert_eq!(recorder.lines(), 4);
    recorder.finish().expect("whole");
}

#[test]
fn lines_that_do_not_pair_are_no_history() {
    let line = |index, kind| Op {
        index,
        time_ns: index,
        kind,
        process: Process::Client(1),
        f: "read".to_owned(),
        value: Value::Nil,
        error: None,
    };
    let twice = [line(0, Kind::Invoke), line(1, Kind::Invoke)];
    assert!(matches!(calls(&twice), Err(HarnessError::HistoryLine { line: 2, .. })));
    assert!(matches!(calls(&[line(0, Kind::Ok)]), Err(HarnessError::HistoryLine { line: 1, .. })));
}

#[test]
fn faults_are_spans_and_what_was_skipped_is_none() {
    let folder = folder();
    let recorder = Recorder::create(folder.path(), 0, 100).expect("made");
    let say = |name: &str, phase: &str, outcome: &str| {
        let fields =
            [("phase", phase.into()), ("outcome", outcome.into()), ("detail", "n1".into())];
        recorder.nemesis(name, Value::map(fields));
    };
    say("loss", "install", "installed");
    say("ring", "install", "skipped");
    say("loss", "heal", "installed");
    say("pause", "install", "indeterminate");
    recorder.finish().expect("whole");
    let spans = faults(&ops(&folder));
    let seen: Vec<_> =
        spans.iter().map(|span| (span.name.as_str(), span.to_ns.is_some())).collect();
    assert_eq!(seen, [("loss", true), ("pause", false)]);
    assert!(spans[0].to_ns > Some(spans[0].from_ns));
    assert_eq!(spans[0].detail, "n1");
}

#[test]
fn leads_are_spans_that_end_when_another_node_leads_or_none() {
    let folder = folder();
    let recorder = Recorder::create(folder.path(), 0, 100).expect("made");
    let say = |leads: &[(&str, i64)]| {
        let map = leads.iter().map(|&(partition, node)| (partition.to_owned(), node.into()));
        let fields = [("phase", "leads".into()), ("leads", Value::Map(map.collect()))];
        recorder.nemesis("leads", Value::map(fields));
    };
    say(&[("0", 1), ("1", 2), ("10", 3)]);
    say(&[("0", 3), ("10", 3)]);
    say(&[("0", 3), ("1", 2), ("10", 3)]);
    recorder.finish().expect("whole");
    let ops = ops(&folder);
    assert_eq!(faults(&ops), [], "who leads is no fault");
    let seen: Vec<_> =
        leads(&ops).iter().map(|span| (span.partition, span.node, span.to_ns.is_some())).collect();
    let expected = [(0, 1, true), (0, 3, false), (1, 2, true), (1, 2, false), (10, 3, false)];
    assert_eq!(seen, expected);
}
