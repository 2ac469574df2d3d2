//! A worker stands still while it waits for a payment that PostgreSQL refuses, and loses its lease.

use testbed::Reply;

use crate::disturbing::joined;
use crate::layout::{Layout, NAME};
use crate::process::Process;
use crate::rig::Rig;
use crate::steps::{CARD, payment, until, wait};

/// Payments of the card, of which the first is refused.
const HOT: usize = 6;
/// So many that each worker settles some.
const OTHERS: usize = 48;
const REFUSE: &str = "CREATE FUNCTION fds.no() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'AB123'; END $$;
     CREATE TRIGGER refuse BEFORE INSERT ON fds.transactions FOR EACH ROW
     WHEN (NEW.tx_id = 'hot-0') EXECUTE FUNCTION fds.no()";
const ORDER: &str = "CREATE TABLE fds.came (nth bigint GENERATED ALWAYS AS IDENTITY, tx_id text);
     CREATE FUNCTION fds.note() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN INSERT INTO fds.came (tx_id) VALUES (NEW.tx_id); RETURN NULL; END $$;
     CREATE TRIGGER note AFTER INSERT ON fds.transactions FOR EACH ROW EXECUTE FUNCTION fds.note()";

fn push(rig: &Rig, id: &str, card: &str) {
    let answer = rig.redis().call(&["LPUSH", NAME, &payment(id, card, "Cafe")]).unwrap();
    assert!(matches!(answer, Reply::Integer(_)), "{answer:?}");
}

/// Pushes one payment of each of the other cards, and waits until they are settled.
fn settle_others(rig: &Rig, name: &str) {
    (0..OTHERS).for_each(|nth| push(rig, &format!("{name}-{nth}"), &format!("50001234{nth:08}")));
    let count = format!("SELECT count(*) FROM fds.transactions WHERE tx_id LIKE '{name}-%'");
    until("the other payments are settled", || {
        rig.postgres.query(&count).unwrap()[0][0] == Some(OTHERS.to_string())
    });
}

fn waits(worker: &mut Process) -> bool {
    worker.metric("engine_refused_waiting{pipeline=\"consumer_batch\"}") >= 1.0
}

/// The payments of the card that are in the store, in the order in which they came there.
fn hot(rig: &Rig) -> Vec<String> {
    let sql = "SELECT tx_id FROM fds.came WHERE tx_id LIKE 'hot-%' ORDER BY nth";
    let rows = rig.postgres.query(sql).unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

#[test]
fn a_worker_that_lost_a_refused_payment_settles_no_later_payment_of_its_card() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rig = Rig::start(Layout::List);
    rig.postgres.execute(REFUSE).unwrap();
    rig.postgres.execute(ORDER).unwrap();
    rig.add_worker_with(&["--set", "engine.attempts_max=2"]);
    joined(&mut rig, &runtime);
    (0..HOT).for_each(|nth| push(&rig, &format!("hot-{nth}"), CARD));
    let buffer = runtime.block_on(rig.layout.open(&rig.addresses()));
    until("the first worker waits for the refused payment", || waits(&mut rig.workers[0]));
    until("it holds the later ones", || {
        runtime.block_on(buffer.depth()).unwrap().leased == HOT as u64
    });

    rig.workers[0].pause();
    // It tries more often than this test lasts, so that it buries nothing.
    rig.add_worker_with(&["--set", "engine.attempts_max=1000"]);
    until("the second worker waits for the refused payment", || waits(&mut rig.workers[1]));
    rig.workers[0].resume();
    // The first worker gives up the refused payment once it has settled others.
    let mut rounds = 0;
    until("the first worker has let go of it", || {
        settle_others(&rig, &format!("other{rounds}"));
        rounds += 1;
        !waits(&mut rig.workers[0])
    });
    settle_others(&rig, "last");
    assert_eq!(hot(&rig), [""; 0], "settled ahead of the refused payment");

    rig.postgres.execute("DROP TRIGGER refuse ON fds.transactions").unwrap();
    wait(&rig, HOT + (rounds + 1) * OTHERS, 0);
    assert_eq!(hot(&rig), (0..HOT).map(|nth| format!("hot-{nth}")).collect::<Vec<_>>());
    rig.workers.iter_mut().for_each(Process::terminate);
}
