//! Nothing outlives the process that started it.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Starts a process that starts `server` under `folder`; with the addresses it has started.
fn holder(server: &str, folder: &Path) -> (Child, Vec<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg(server)
        .env("TEST_SERVERS", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let (_, rest) = url.trim().split_once("://").unwrap();
    let rest = rest.trim_start_matches("postgres@").trim_end_matches("/forebay");
    (child, rest.split(',').map(ToOwned::to_owned).collect())
}

fn dies_with_its_process(server: &str) {
    let folder = tempfile::Builder::new().permissions(open_to_all()).tempdir().unwrap();
    let (mut child, addresses) = holder(server, folder.path());
    assert!(addresses.iter().all(|address| TcpStream::connect(address).is_ok()));
    assert!(fs::read_dir(folder.path()).unwrap().count() > 0);
    let segment = segment(folder.path());
    assert_eq!(segment.is_some(), server == "postgres");
    // This is kill -9: the process gets to do nothing.
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    let is_left = || {
        addresses.iter().any(|address| TcpStream::connect(address).is_ok())
            || fs::read_dir(folder.path()).unwrap().count() > 0
            || segment.as_ref().is_some_and(|segment| is_there(segment))
    };
    while is_left() {
        assert!(killed.elapsed() < Duration::from_secs(20), "{server} outlived its process");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The id of the segment of shared memory that guards the data of the server under `folder`.
fn segment(folder: &Path) -> Option<String> {
    fs::read_dir(folder).unwrap().find_map(|home| {
        let lock = fs::read_to_string(home.unwrap().path().join("data/postmaster.pid")).ok()?;
        Some(lock.lines().nth(6)?.split_whitespace().nth(1)?.to_owned())
    })
}

fn is_there(segment: &str) -> bool {
    let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    segments.lines().any(|line| line.split_whitespace().nth(1) == Some(segment))
}

/// PostgreSQL's own user has to get at its folder in there.
fn open_to_all() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

#[test]
fn a_redis_server_dies_with_its_process_however_that_dies() {
    dies_with_its_process("redis");
}

#[test]
fn a_cluster_dies_with_its_process_however_that_dies() {
    dies_with_its_process("redis-cluster");
}

#[test]
fn a_postgres_server_dies_with_its_process_however_that_dies() {
    dies_with_its_process("postgres");
}
