//! The claims of the configuration, through [`load`] as `main` calls it.

use super::*;
use std::path::Path;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("n.toml");
    std::fs::write(&path, text).expect("a file in it");
    (dir, path)
}

fn sources(path: &Path, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    Sources {
        file: Some(path.into()),
        environment: env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        flags: flags.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
    }
}

fn problems(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let (_dir, path) = file(text);
    load(&sources(&path, env, &[])).expect_err("a mistake").problems
}

#[test]
fn nothing_configured_is_a_valid_node() {
    let (_dir, path) = file("");
    let config = load(&sources(&path, &[], &[])).expect("defaults").config;
    assert_eq!(config.node.partitions, 8);
    assert!(config.node.shards >= 1);
    assert_eq!(config.ocpp.message_bytes_max, 65_536);
    assert_eq!(config.http.api_key, None);
    assert!(config.log.direct);
}

#[test]
fn later_layers_win_and_say_so() {
    let (_dir, path) = file("[ocpp]\nheartbeat_s = 60\n[node]\nshards = 2\npartitions = 4\n");
    let env = [("NOVAX__NODE__SHARDS", "3"), ("NOVAX__NODE__PARTITIONS", "5")];
    let resolved = load(&sources(&path, &env, &[("node.shards", "4")])).expect("valid");
    assert_eq!(resolved.config.ocpp.heartbeat, Duration::from_secs(60));
    assert_eq!(resolved.config.node.partitions, 5);
    assert_eq!(resolved.config.node.shards, 4);
    let shown = resolved.show(true);
    assert!(shown.contains("node.shards = 4  # flag --shards"), "{shown}");
    assert!(
        shown.contains("node.partitions = 5  # environment NOVAX__NODE__PARTITIONS"),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("ocpp.heartbeat_s = 60  # file {}", path.display())),
        "{shown}"
    );
    assert!(shown.contains("http.listen = 127.0.0.1:8080  # default"), "{shown}");
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion_in_every_layer() {
    let found = problems(
        "dta = 'x'\n[ocpp]\nlisten_on = '127.0.0.1:1'\n[ocp]\nlisten = 1\n",
        &[("NOVAX__HTTP__APIKEY", "0123456789abcdef")],
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found.iter().any(|p| p.ends_with("unknown key dta; did you mean data?")), "{found:#?}");
    assert!(
        found.iter().any(|p| p.ends_with("unknown key ocpp.listen_on; did you mean ocpp.listen?")),
        "{found:#?}"
    );
    assert!(found.iter().any(|p| p.contains("unknown key ocp")), "{found:#?}");
    assert!(
        found.iter().any(|p| p.ends_with("unknown key http.apikey; did you mean http.api_key?")),
        "{found:#?}"
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = problems(
        "[node]\nshards = 9999\npartitions = '8'\n[ocpp]\nlisten = 'localhost'\n[log]\ndirect = 1\n",
        &[("NOVAX__OCPP__HEARTBEAT_S", "soon")],
    );
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().all(|p| p.starts_with("file ") || p.starts_with("environment ")));
}

#[test]
fn broken_toml_names_its_line_and_a_missing_file_its_name() {
    let found = problems("data = 'x'\n[ocpp\n", &[]);
    assert!(found[0].contains("line 2"), "{found:#?}");
    let error = load(&sources(Path::new("/nowhere/n.toml"), &[], &[])).expect_err("no such file");
    assert!(error.to_string().contains("/nowhere/n.toml"), "{error}");
}

#[test]
fn secrets_are_never_shown() {
    let (_dir, path) = file("[http]\napi_key = 'correct-horse-battery'\n");
    let resolved = load(&sources(&path, &[], &[])).expect("valid");
    assert!(!resolved.show(true).contains("horse"));
    assert!(!format!("{:?}", resolved.config).contains("horse"));
    let key = resolved.config.http.api_key.expect("configured");
    assert_eq!(key.reveal(), "correct-horse-battery");
}

#[test]
fn sql_is_open_only_on_loopback_and_without_a_password() {
    let (_dir, path) = file("");
    let password = |flags: &[(&'static str, &str)]| {
        load(&sources(&path, &[], flags))
            .expect("valid")
            .config
            .sql
            .password_in_force("the-api-key")
    };
    assert_eq!(password(&[]), None);
    assert_eq!(password(&[("sql.listen", "0.0.0.0:5433")]).as_deref(), Some("the-api-key"));
    assert_eq!(password(&[("sql.password", "opensesame")]).as_deref(), Some("opensesame"));
}

#[test]
fn the_committed_page_tells_the_table_of_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    let expected = docs::markdown();
    if std::env::var_os("NOVAX_BLESS").is_some() {
        std::fs::write(&path, &expected).expect("docs/config.md can be written");
    }
    let committed = std::fs::read_to_string(&path).expect("docs/config.md is committed");
    assert_eq!(committed, expected, "NOVAX_BLESS=1 cargo nextest run -p novax config");
}
