//! What tests of one verb do over and over: push or post a payment, and wait for what becomes of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::Process;
use crate::rig::Rig;

/// A card to pay with.
pub(crate) const CARD: &str = "4000123412341234";
/// How long whatever is waited for may take.
const WITHIN: Duration = Duration::from_secs(30);

/// A payment as a foreign producer writes it.
pub(crate) fn payment(id: &str, card: &str, merchant: &str) -> String {
    format!(
        r#"{{"tx_id":"{id}","card_number":"{card}","user_id":"u1","tier":"normal","amount":1000,
"merchant":"{merchant}","category":"coffee","created_at":"2026-01-05T12:00:00Z"}}"#
    )
}

/// Posts a payment; the whole answer.
pub(crate) fn offer(api: &mut Process, payment: &str) -> String {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        payment.len()
    );
    api.ask(&(head + payment))
}

/// Posts a payment; the whole answer, which must have this status.
pub(crate) fn post(api: &mut Process, payment: &str, status: u16) -> String {
    let answer = offer(api, payment);
    assert!(has(&answer, status), "{payment}: {answer}");
    answer
}

/// Whether an answer has this status.
pub(crate) fn has(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + WITHIN;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until as many payments are settled and dead as expected.
pub(crate) fn wait(rig: &Rig, settled: usize, dead: usize) {
    let end = Instant::now() + WITHIN;
    loop {
        let rows = rig.postgres.query("SELECT count(*) FROM fds.transactions").unwrap();
        let rows: usize = rows[0][0].as_deref().unwrap().parse().unwrap();
        let letters: Value =
            serde_json::from_str(&rig.verb(&["dead", "list", "--all", "--json"])).unwrap();
        let letters = letters.as_array().unwrap().len();
        if (rows, letters) == (settled, dead) {
            return;
        }
        assert!(
            Instant::now() < end,
            "{rows} settled and {letters} dead, not {settled} and {dead}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
