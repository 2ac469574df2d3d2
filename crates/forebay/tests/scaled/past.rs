//! Redis goes back in time while a worker stands still with payments that it has leased.

use std::fs;
use std::path::{Path, PathBuf};

use testbed::{Fault, Proxy};

use crate::disturbing::joined;
use crate::layout::{Layout, NAME};
use crate::rig::Rig;
use crate::steps::{payment, until};

/// So many that the worker that joins again leaves some of their shards to the other one.
const CARDS: usize = 24;

fn card(nth: usize) -> String {
    format!("40001234{nth:08}")
}

/// Pushes payments `numbers` of each card.
fn push(rig: &Rig, numbers: std::ops::Range<usize>) {
    for nth in 0..CARDS {
        for number in numbers.clone() {
            let pushed = payment(&format!("tx-{nth}-{number}"), &card(nth), "Cafe");
            rig.redis().call(&["LPUSH", NAME, &pushed]).unwrap();
        }
    }
}

fn settled(rig: &Rig) -> usize {
    let rows = rig.postgres.query("SELECT count(*) FROM fds.transactions").unwrap();
    rows[0][0].as_deref().unwrap().parse().unwrap()
}

fn until_settled(rig: &Rig, of_each: usize) {
    until(&format!("{of_each} payments of each card are settled"), || {
        settled(rig) == CARDS * of_each
    });
}

/// Copies all files below a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, &copied).unwrap();
        }
    }
}

#[test]
fn what_a_worker_settles_after_redis_forgot_it_is_counted_by_the_worker_that_took_over() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rig = Rig::start(Layout::List);
    let between = Proxy::start(&rig.postgres.address()).unwrap();
    let through = rig.postgres.url().replace(&rig.postgres.address(), &between.address());
    let buffer_url = rig.buffer_url();
    let stalled = rig.serve_between(&buffer_url, &through, "worker", &[]);
    rig.workers.push(stalled);
    joined(&mut rig, &runtime);
    push(&rig, 0..2);
    until_settled(&rig, 2);
    let buffer = runtime.block_on(rig.layout.open(&rig.addresses()));
    let leased = || runtime.block_on(buffer.depth()).unwrap().leased;
    until("nothing is leased", || leased() == 0);
    // This is what Redis will remember. Each write of it is synced.
    let answer = rig.redis().call(&["CONFIG", "GET", "dir"]).unwrap();
    let folder = PathBuf::from(answer.array()[1].text().unwrap());
    let kept = rig.dir().join("redis-before");
    copy(&folder, &kept);

    between.set(Fault::Refuse);
    push(&rig, 2..4);
    until("the worker holds them all", || leased() == CARDS as u64 * 2);
    rig.workers[0].pause();
    rig.redis().kill();
    fs::remove_dir_all(folder.join("appendonlydir")).unwrap();
    copy(&kept, &folder);
    rig.redis().start_again().unwrap();
    rig.add_worker();
    push(&rig, 4..5);
    until_settled(&rig, 3);

    between.set(Fault::None);
    rig.workers[0].resume();
    until_settled(&rig, 5);
    // The fifth in a minute was one of those; whoever settles the sixth has to know of all.
    push(&rig, 5..6);
    until_settled(&rig, 6);
    let missed = "SELECT tx_id FROM fds.transactions WHERE tx_id LIKE '%-5' AND NOT is_fraud";
    assert_eq!(rig.postgres.query(missed).unwrap().len(), 0, "verdicts without all payments");
    let flagged = "SELECT count(*) FROM fds.transactions WHERE is_fraud";
    let flagged = rig.postgres.query(flagged).unwrap()[0][0].clone();
    assert_eq!(flagged, Some((CARDS * 2).to_string()), "the fifth and the sixth of each card");
    rig.workers.iter_mut().for_each(crate::process::Process::terminate);
}
