//! How many connections of PostgreSQL a process has at most: docs/scaling-out.md tells operators of a pooler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::layout::{Layout, NAME};
use crate::reloaded::put;
use crate::rig::Rig;
use crate::steps::payment;

const POOL_MAX: usize = 2;
/// As docs/scaling-out.md has it.
const CONNECTIONS_MAX: usize = 2 * POOL_MAX + 6;
const PAYMENTS: usize = 3_000;
const ROWS: usize = 300;
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
const TABLE: &str = "\
[[table]]
name = \"prices\"
keys = [\"sku\"]
mode = \"upsert\"
version = \"version\"
columns = { sku = \"text\", price = \"bigint\", version = \"bigint\" }
lanes = 8
batch_max = 1
linger_ms = 0
";

#[test]
fn a_process_has_no_more_connections_than_the_document_says() {
    let mut rig = Rig::start(Layout::List);
    let columns = "(sku text PRIMARY KEY, price bigint, version bigint NOT NULL)";
    rig.postgres.execute(&format!("CREATE TABLE prices {columns}")).unwrap();
    std::fs::write(rig.dir().join("forebay.toml"), TABLE).unwrap();
    for n in 0..PAYMENTS {
        let card = format!("{:016}", 4_000_000_000_000_000_u64 + n as u64 % 97);
        rig.redis().call(&["LPUSH", NAME, &payment(&format!("tx-{n}"), &card, "Cafe")]).unwrap();
    }
    let (buffer, store) = (rig.buffer_url(), format!("{}?pool_max={POOL_MAX}", rig.postgres.url()));
    let lanes = ["--set", "engine.lanes=8", "--set", "engine.batch_max=5"];
    let over = AtomicBool::new(false);
    let mut process = rig.serve_between(&buffer, &store, "api,worker", &lanes);
    let postgres = &rig.postgres;
    let count = |sql: &str| -> usize {
        postgres.query(sql).unwrap()[0][0].as_deref().unwrap().parse().unwrap()
    };
    let open = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'forebay'";
    let most = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::SeqCst) {
                most = most.max(count(open));
            }
            most
        });
        let address = process.address();
        let senders = (0..4).map(|sender| {
            let address = address.clone();
            scope.spawn(move || {
                for n in 0..ROWS {
                    assert_eq!(put(&address, "prices", &format!("{sender}-{n}"), 1), Some(202));
                }
            })
        });
        senders.collect::<Vec<_>>().into_iter().for_each(|sender| sender.join().unwrap());
        let end = Instant::now() + SETTLED_WITHIN;
        let settled = "SELECT ((SELECT count(*) FROM fds.transactions) \
                       + (SELECT count(*) FROM prices))::text";
        while count(settled) < PAYMENTS + 4 * ROWS {
            process.must_live();
            assert!(Instant::now() < end, "{} are settled:\n{}", count(settled), process.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        over.store(true, Ordering::SeqCst);
        looking.join().unwrap()
    });
    println!("{most} connections at most, {CONNECTIONS_MAX} are stated");
    // Both pools were full, beside the claim and what reads the pipelines.
    assert!((2 * POOL_MAX + 2..=CONNECTIONS_MAX).contains(&most), "{most}");
    process.terminate();
}
