//! `generate` to standard output.

use std::io::Read;
use std::process::Stdio;

use model::Payment;
use model::clock::{Clock, System};

use super::running::{binary, done, run};

const START: [&str; 2] = ["--start", "2026-03-02T03:00:00Z"];

#[test]
fn the_same_seed_makes_the_same_lines_and_each_is_a_payment() {
    let dir = tempfile::tempdir().unwrap();
    let make = |seed: &str| {
        done(dir.path(), &[&["generate", "--count", "2500", "--seed", seed], &START[..]].concat())
    };
    let lines = make("7");
    assert_eq!(lines.lines().count(), 2_500);
    for line in lines.lines() {
        Payment::parse(line.as_bytes(), System.now_ms()).unwrap();
    }
    assert_eq!(lines, make("7"));
    assert_ne!(lines, make("8"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing else is made");
}

#[test]
fn a_label_is_added_only_where_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["generate", "--count", "2000", "--fraud-share", "0.05"];
    assert!(!done(dir.path(), &args).contains("\"label\""));
    let labelled = done(dir.path(), &[&args[..], &["--labels"]].concat());
    let frauds = labelled.lines().filter(|line| line.contains("\"label\":\"")).count();
    assert!((50..=200).contains(&frauds), "{frauds} of 2000");
}

#[test]
fn a_reader_that_has_enough_is_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["generate", "--count", "4000000"];
    let mut child = binary(dir.path(), &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut some = [0; 1_000];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_that_is_not_there_is_told_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/payments.ndjson");
    // A replay is patient for a minute; a target that is no address at all is refused at once.
    let ran = run(dir.path(), &["replay", example, "--to", &format!("htp://{free}")]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("forebay: --to: "), "{}", ran.stderr);
}
