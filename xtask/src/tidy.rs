//! What must be true of the tree itself: these tests read it.
//!
//! They look at text, not at syntax: a rule that a comment or a string could trip is written so that it
//! does not, and exceptions are listed here, each with its reason.

use crate::shell::{command, root};
use std::collections::BTreeSet;
use std::path::Path;

/// Crates without I/O, clocks, threads and chance.
const PURE: [&str; 9] = [
    "ledger",
    "tariff",
    "settlement",
    "audit",
    "statements",
    "charging",
    "scheduler",
    "wire",
    "tsdb",
];
/// Crates that count money: integers only.
const MONEY: [&str; 9] = [
    "model",
    "ledger",
    "tariff",
    "settlement",
    "audit",
    "payments",
    "statements",
    "charging",
    "scheduler",
];
/// Who may use whom: a crate and all that it may depend on.
const FLOORS: [(&str, &[&str]); 26] = [
    ("model", &[]),
    ("log", &["model"]),
    ("engine", &["model", "log"]),
    ("tsdb", &["model"]),
    ("ledger", &["model"]),
    ("tariff", &["model"]),
    ("settlement", &["model"]),
    ("audit", &["model", "ledger"]),
    ("payments", &["model"]),
    ("statements", &["model"]),
    ("scheduler", &["model"]),
    ("wire", &["model"]),
    ("charging", &["model", "ledger", "tariff", "settlement", "audit", "scheduler", "tsdb"]),
    ("raft", &["model", "log"]),
    ("peer", &["model"]),
    ("ring", &["model"]),
    (
        "shard",
        &[
            "model",
            "audit",
            "log",
            "engine",
            "tsdb",
            "tariff",
            "settlement",
            "wire",
            "charging",
            "raft",
        ],
    ),
    ("cold", &["model", "engine", "tsdb"]),
    ("query", &["model", "engine", "ledger", "tariff", "settlement", "charging", "tsdb", "cold"]),
    ("console", &[]),
    (
        "server",
        &[
            "model",
            "log",
            "engine",
            "tsdb",
            "ledger",
            "tariff",
            "settlement",
            "audit",
            "payments",
            "statements",
            "scheduler",
            "wire",
            "charging",
            "raft",
            "peer",
            "ring",
            "shard",
            "cold",
            "query",
            "console",
        ],
    ),
    ("jepsen", &["model", "wire", "engine", "log", "ledger", "audit", "payments"]),
    (
        "jepsen/sim",
        &["model", "log", "engine", "tsdb", "ledger", "audit", "wire", "charging", "raft", "shard"],
    ),
    (
        "benches",
        &[
            "model",
            "wire",
            "engine",
            "log",
            "tsdb",
            "ledger",
            "tariff",
            "settlement",
            "audit",
            "ring",
        ],
    ),
    (
        "fuzz",
        &[
            "model", "wire", "charging", "tsdb", "engine", "ledger", "raft", "tariff", "payments",
            "audit", "peer", "log",
        ],
    ),
    ("xtask", &[]),
];

/// A file of the project that git knows, with its text.
struct Source {
    path: String,
    text: String,
}

/// Every text file that git tracks; binary ones are not looked at.
fn sources() -> Vec<Source> {
    let listed = command("git", &["ls-files", "-z"]).output().expect("git lists the files");
    assert!(listed.status.success(), "git lists the files");
    let paths = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let read = |path: &str| {
        // A tracked file may be deleted and not yet committed.
        let text = std::fs::read_to_string(root().join(path)).ok()?;
        Some(Source { path: path.to_owned(), text })
    };
    let found: Vec<Source> = paths.split('\0').filter_map(read).collect();
    assert!(found.len() > 100, "only {} files: this is not the whole tree", found.len());
    found
}

/// The Rust files below some folders.
fn rust_below(folders: &[String]) -> Vec<Source> {
    let below = |source: &Source| {
        let rust = Path::new(&source.path).extension().is_some_and(|end| end == "rs");
        rust && folders.iter().any(|folder| source.path.starts_with(folder.as_str()))
    };
    let found: Vec<Source> = sources().into_iter().filter(below).collect();
    assert!(!found.is_empty(), "no Rust below {folders:?}");
    found
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _comment)| code)
}

/// Whether `word` stands in `line` by itself.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Lines of code that hold one of the words, as `path:line: text`.
fn lines_with(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in (1..).zip(source.text.lines()) {
            if words.iter().any(|word| has_word(code(line), word)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

fn src_of(crates: &[&str]) -> Vec<String> {
    crates.iter().map(|name| format!("{name}/src/")).collect()
}

#[test]
fn pure_crates_have_no_clock_thread_socket_file_or_chance() {
    let words = [
        "std::time",
        "std::thread",
        "std::net",
        "std::fs",
        "std::process",
        "std::env",
        "Instant",
        "SystemTime",
        "rand",
        "getrandom",
        "tokio",
    ];
    let found = lines_with(&rust_below(&src_of(&PURE)), &words);
    assert!(found.is_empty(), "{found:#?}");
    for name in PURE {
        let manifest = read(&format!("{name}/Cargo.toml"));
        let uses = dependencies(&manifest);
        for foreign in ["rand", "getrandom", "tokio", "io-uring", "libc", "chrono"] {
            assert!(!uses.contains(foreign), "{name} depends on {foreign}");
        }
    }
}

#[test]
fn pure_crates_do_not_depend_on_the_order_of_a_hash_map() {
    let mut sources = rust_below(&src_of(&PURE));
    // It hides the order.
    sources.retain(|source| source.path != "charging/src/lookup.rs");
    let found = lines_with(&sources, &["HashMap", "HashSet"]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn money_is_counted_without_floats() {
    let found = lines_with(&rust_below(&src_of(&MONEY)), &["f32", "f64"]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn unsafe_stands_only_in_the_ring_the_engines_files_and_one_setting() {
    let allowed = ["ring/src/", "server/src/memory.rs", "engine/src/file"];
    let everywhere: Vec<String> = FLOORS.iter().map(|(name, _)| format!("{name}/")).collect();
    let mut sources = rust_below(&everywhere);
    sources.retain(|source| !allowed.iter().any(|folder| source.path.starts_with(folder)));
    let mut found = Vec::new();
    for source in &sources {
        for (number, line) in (1..).zip(source.text.lines()) {
            let kinds = ["{", "fn", "impl", "extern", "trait"];
            if kinds.iter().any(|kind| code(line).contains(&format!("unsafe {kind}"))) {
                found.push(format!("{}:{number}", source.path));
            }
        }
    }
    // The other files of this list would only be this test's own words.
    found.retain(|place| !place.starts_with("xtask/src/tidy.rs:"));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn crates_use_only_what_stands_below() {
    for (name, allowed) in FLOORS {
        let uses = dependencies(&read(&format!("{name}/Cargo.toml")));
        let ours = uses.iter().filter_map(|used| used.strip_prefix("novax-"));
        let wrong: Vec<&str> = ours.filter(|used| !allowed.contains(used)).collect();
        assert!(wrong.is_empty(), "{name} must not use {wrong:?}");
    }
    let members = read("Cargo.toml");
    let members = members.split_once("members = [").and_then(|(_, rest)| rest.split_once(']'));
    let (members, _) = members.expect("the workspace lists its members");
    for member in members.split(',').map(|text| text.trim().trim_matches('"')) {
        let known = FLOORS.iter().any(|(name, _)| *name == member);
        assert!(member.is_empty() || known, "{member} stands on no floor");
    }
}

/// What a manifest depends on, tests aside.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            found.extend((!name.is_empty()).then(|| name.to_owned()));
        }
    }
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const COLUMNS_MAX: usize = 120;

#[test]
fn lines_of_code_fit_the_screen() {
    let everywhere: Vec<String> = FLOORS.iter().map(|(name, _)| format!("{name}/")).collect();
    let mut found = Vec::new();
    for source in rust_below(&everywhere) {
        let mut in_text = false;
        for (number, line) in (1..).zip(source.text.lines()) {
            // A text is not broken for its length: what it says is compared with what comes.
            let is_text = in_text || line.contains('"');
            if line.chars().count() > COLUMNS_MAX && !is_text {
                found.push(format!("{}:{number}", source.path));
            }
            let comment = line.trim_start().starts_with("//");
            let marks = line.replace("\\\"", "").replace("'\"'", "").matches('"').count();
            // Each item ends in code: a miscount does not reach beyond it.
            in_text = line != "}" && in_text ^ (!comment && marks % 2 == 1);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    let here = root();
    let here = here.to_str().expect("a path in UTF-8");
    assert!(here.len() > 1, "the workspace is not the root folder");
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.text.contains(&format!("{here}/")))
        .map(|source| source.path)
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Sentence and test of each invariant line.
fn invariants() -> Vec<(String, String)> {
    let document = read("ARCHITECTURE.md");
    // A sentence may go over lines: an item goes up to the next one, or to an empty line.
    let items = document.split("**Architecture Invariant:**").skip(1);
    items
        .map(|item| {
            let item = item.split("\n\n").next().unwrap_or_default().replace('\n', " ");
            let (sentence, rest) =
                item.split_once("(test: ").unwrap_or_else(|| panic!("no test is named: {item}"));
            let test = rest.split(')').next().unwrap_or_default();
            (sentence.trim().to_owned(), test.trim().trim_matches('`').to_owned())
        })
        .collect()
}

#[test]
fn every_architecture_invariant_names_an_existing_test() {
    let listed = invariants();
    assert!(listed.len() >= 20, "only {} invariants: {listed:?}", listed.len());
    let everywhere: Vec<String> = FLOORS.iter().map(|(name, _)| format!("{name}/")).collect();
    let sources = rust_below(&everywhere);
    let tests: BTreeSet<&str> = sources.iter().flat_map(|source| tests_of(&source.text)).collect();
    for (sentence, test) in listed {
        assert!(sentence.split(' ').count() >= 4, "an invariant is a sentence: {sentence:?}");
        assert!(tests.contains(test.as_str()), "there is no test {test:?}, named by: {sentence}");
    }
}

/// The functions of a file that are run as tests: those after `#[test]` or the like, and those in proptest
/// blocks, where the attribute stands too.
fn tests_of(text: &str) -> Vec<&str> {
    let mut marked = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
            found.extend(rest.split('(').next());
            marked = false;
        }
    }
    found
}

#[test]
fn the_helpers_of_these_tests_see_what_they_should() {
    assert!(has_word("use std::time::Instant;", "Instant"));
    assert!(!has_word("let measurand = 1;", "rand"));
    assert_eq!(code("let a = 1; // rand"), "let a = 1; ");
    let text = "#[test]\nfn one() {}\nfn not() {}\n#[test]\n#[should_panic]\nfn two() {}";
    assert_eq!(tests_of(text), ["one", "two"]);
    let manifest = "[dependencies]\nnovax-model.workspace = true\n# x\nserde = \"1\"\n[dev-dependencies]\ny = \"1\"";
    assert_eq!(dependencies(manifest), BTreeSet::from(["novax-model".into(), "serde".into()]));
}
