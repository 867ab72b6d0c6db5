//! The journal as an auditor gets it: from a running node, checked offline, kept over kills.

use crate::scene::{Scene, get, until};
use novax_audit::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use novax_audit::{Hash, PublicKeys, SignedHead};
use novax_jepsen::node::{Node, novax};
use novax_jepsen::station::{Station, Version};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

/// The body of an answer, as bytes. HTTP/1.0, so that it comes as it is and ends with the socket.
fn download(node: &Node, path: &str) -> Vec<u8> {
    let client = node.client();
    let mut socket = TcpStream::connect(client.address).expect("the node listens");
    let head = format!("GET {path} HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n", client.key);
    socket.write_all(head.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer));
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    answer.split_off(end + 4)
}

fn audit(arguments: &[&str]) -> (Option<i32>, String) {
    let ran = Command::new(novax()).arg("audit").args(arguments).output().expect("runs");
    let text = [ran.stdout, ran.stderr].concat();
    (ran.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The newest signed head of each partition that has one, once all transfers are signed.
fn signed(scene: &Scene) -> Vec<(u64, u64, String)> {
    let heads = get(&scene.node, "/v1/audit/heads");
    let heads = heads.as_array().expect("a list").iter();
    let row = |head: &Value| {
        let number = |field: &str| head[field].as_u64().expect("a number");
        (number("partition"), number("size"), head["signed"].as_str().expect("text").to_owned())
    };
    heads.map(row).collect()
}

fn verify(file: &Path, key: &str, more: &[&str]) -> (Option<i32>, String) {
    let file = file.to_str().expect("a path in UTF-8");
    audit(&[&["verify", file, "--key", key], more].concat())
}

#[test]
fn an_auditor_verifies_the_journal_offline_and_a_changed_byte_is_named() {
    let mut scene = Scene::new(&[]);
    let data = scene.node.data().to_str().expect("a path in UTF-8").to_owned();
    let (code, key) = audit(&["key", "--data", &data]);
    let key = key.trim();
    assert_eq!((code, key.len()), (Some(0), 64), "{key}");
    let before = until("signed heads", || Some(signed(&scene)).filter(|heads| !heads.is_empty()));
    // What was signed before a kill is still the beginning of what is signed after it.
    scene.node.kill();
    scene.node.restart(None).expect("ready again");
    let hub = scene.node.addresses.ocpp;
    scene.good = until("the station", || Station::connect(hub, "GOOD", Version::V16, None).ok());
    assert_eq!(scene.good.boot().expect("answers"), "Accepted");
    scene.the_neighbour_is_well();
    let (partition, _, old) = before.first().expect("a head").clone();
    let grown = until("a head over the settlement", || {
        signed(&scene).into_iter().find(|head| head.0 == partition && head.1 > before[0].1)
    });
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("journal");
    for proofs in ["false", "true"] {
        let path = format!("/v1/audit/export?partition={partition}&proofs={proofs}");
        let bytes = download(&scene.node, &path);
        std::fs::write(&file, &bytes).expect("written");
        let (code, text) = verify(&file, key, &["--head", old.as_str()]);
        assert_eq!(code, Some(0), "{text}");
        let (code, text) = verify(&file, &key.replace(|c: char| c.is_ascii_digit(), "7"), &[]);
        assert_ne!(code, Some(0), "another key vouches for nothing: {text}");
        let place = bytes.len() / 2;
        let mut forged = bytes;
        forged[place] ^= 1;
        std::fs::write(&file, &forged).expect("written");
        let (code, text) = verify(&file, key, &[]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("not genuine") && text.contains(&place.to_string()), "{text}");
    }
    // One transfer, proved by itself against the newest head.
    let transfers = get(&scene.node, "/v1/transfers?limit=1000");
    let ids = transfers["items"].as_array().expect("a list").iter();
    let ids: Vec<&str> = ids.filter_map(|row| row["id"].as_str()).collect();
    let id = ids.iter().find(|id| id.split('.').next() == Some(&partition.to_string()));
    let proof = get(&scene.node, &format!("/v1/audit/proof?transfer={}", id.expect("a transfer")));
    let head = SignedHead::from_bytes(&bytes(&proof["head"]["signed"])).expect("a signed head");
    PublicKeys::parse(key).expect("a key").verify(&head).expect("the node signed it");
    let leaf = leaf_hash(&bytes(&proof["transaction"]));
    let (number, size) = (proof["leaf"].as_u64().expect("a number"), head.head.size);
    let hashes = hashes(&proof["path"]);
    verify_inclusion(&leaf, number, size, &hashes, &head.head.root).expect("it is in the journal");
    let forged = leaf_hash(b"another transaction");
    assert!(verify_inclusion(&forged, number, size, &hashes, &head.head.root).is_err());
    let old = SignedHead::from_bytes(&bytes(&old.into())).expect("a signed head").head;
    let path = format!("/v1/audit/consistency?partition={partition}&from={}&to={size}", old.size);
    let hashes = self::hashes(&get(&scene.node, &path)["path"]);
    verify_consistency(old.size, &old.root, size, &head.head.root, &hashes).expect("it grew");
    assert!(verify_consistency(old.size, &[7; 32], size, &head.head.root, &hashes).is_err());
    assert!(grown.1 <= size, "heads only grow");
}

#[test]
fn an_auditor_who_kept_the_first_key_follows_to_the_next() {
    let mut scene = Scene::new(&[]);
    let data = scene.node.data().to_str().expect("a path in UTF-8").to_owned();
    let (_, first) = audit(&["key", "--data", &data]);
    let first = first.trim().to_owned();
    let rotate = ["key", "rotate", "--data", &data, "--after-s", "0"];
    let (code, words) = audit(&rotate);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("stop it first"), "{words}");
    let before = until("signed heads", || Some(signed(&scene)).filter(|heads| !heads.is_empty()));
    assert!(scene.node.stop().success());
    let (code, rotation) = audit(&rotate);
    assert_eq!((code, rotation.trim().len()), (Some(0), 368), "{rotation}");
    scene.node.restart(None).expect("ready again");
    let hub = scene.node.addresses.ocpp;
    scene.good = until("the station", || Station::connect(hub, "GOOD", Version::V16, None).ok());
    assert_eq!(scene.good.boot().expect("answers"), "Accepted");
    scene.the_neighbour_is_well();
    let (partition, _, old) = before.first().expect("a head").clone();
    let key_of = |head: &str| head[2 * 98..2 * 106].to_owned();
    let grown = until("a head by the next key", || {
        let heads = signed(&scene).into_iter();
        heads.filter(|head| head.0 == partition).find(|head| key_of(&head.2) != key_of(&old))
    });
    let directory = tempfile::tempdir().expect("a directory");
    let (file, kept) = (directory.path().join("journal"), directory.path().join("keys"));
    let path = format!("/v1/audit/export?partition={partition}");
    std::fs::write(&file, download(&scene.node, &path)).expect("written");
    let (code, text) = verify(&file, &first, &["--head", old.as_str()]);
    assert_eq!(code, Some(0), "the first key is enough: {text}");
    let (code, text) = verify(&file, &first, &["--head", grown.2.as_str()]);
    assert_ne!(code, Some(0), "nobody said whose this head is: {text}");
    let (_, chain) = audit(&["key", "--data", &data]);
    assert_eq!(chain, format!("{first}\n{rotation}"), "what was printed, and how it goes on");
    std::fs::write(&kept, chain).expect("written");
    let kept = kept.to_str().expect("a path in UTF-8");
    let (code, text) = verify(&file, kept, &["--head", grown.2.as_str()]);
    assert_eq!(code, Some(0), "{text}");
}

fn bytes(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("hexadecimal digits");
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

fn hashes(list: &Value) -> Vec<Hash> {
    let list = list.as_array().expect("a list").iter();
    list.map(|text| bytes(text).try_into().expect("32 bytes")).collect()
}
