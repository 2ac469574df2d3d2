//! A service that pays, a buffer's server, a store, and processes between them.

use std::collections::HashMap;
use std::sync::Arc;

use lab::simulate::{Audit, Behaviour, Handle, Options, start};
use tempfile::TempDir;
use testbed::{Kafka, Postgres, Redis, Sqs};
use tokio::runtime::Runtime;

use crate::running::{Serving, asked, done, json, until};

/// How long a process may be silent before another one takes its part, and how long leases last, in milliseconds.
const MEMBER_MS: u64 = 1_000;
const LEASE_MS: u64 = 3_000;

/// Where the events lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Journal,
    List,
    Stream,
    Kafka,
    Sqs,
}

enum Medium {
    Folder,
    Redis(Redis),
    Kafka(Kafka),
    Sqs(Sqs),
}

impl Medium {
    fn start(layout: Layout) -> Self {
        match layout {
            Layout::Journal => Self::Folder,
            Layout::List | Layout::Stream => Self::Redis(Redis::start().unwrap()),
            Layout::Kafka => Self::Kafka(Kafka::start().unwrap()),
            Layout::Sqs => Self::Sqs(Sqs::start().unwrap()),
        }
    }

    /// The buffer of this name; nothing where the default is meant.
    fn buffer(&self, layout: Layout, name: &str) -> Option<String> {
        let times = format!("member_ms={MEMBER_MS}&lease_ms={LEASE_MS}");
        match self {
            Self::Folder => Some(format!("journal:{{data}}/{name}?lease_ms={LEASE_MS}")),
            Self::Redis(redis) if layout == Layout::Stream => {
                Some(format!("{}/0?stream={name}&group=fds&shards=16&{times}", redis.url()))
            }
            Self::Redis(redis) => Some(format!("{}/0?list={name}&shards=16&{times}", redis.url())),
            Self::Kafka(kafka) => {
                let times = format!("session_ms={MEMBER_MS}&lease_ms={LEASE_MS}");
                Some(format!("{}/{name}?group=fds&{times}", kafka.url()))
            }
            Self::Sqs(sqs) => {
                let what = format!("region=us-east-1&create=true&visibility_ms={LEASE_MS}");
                Some(format!("{}/{name}?{what}", sqs.url()))
            }
        }
    }
}

/// Vouchers of each key. Each has a member of its own, `m3.0` the first of the key `m3`.
pub(crate) const OF_A_KEY: u64 = 3;

/// A service that keeps a ledger by member.
pub(crate) struct Paying {
    handle: Handle,
    ledger: TempDir,
    _runtime: Runtime,
}

impl Paying {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let runtime = Runtime::new().unwrap();
        let ledger = tempfile::tempdir().unwrap();
        let options = Options {
            behaviour,
            ledger: Some(ledger.path().join("ledger")),
            member_field: "member".to_owned(),
            order_field: Some("key".to_owned()),
            seed: 1,
        };
        let listen = tokio::net::TcpListener::bind("127.0.0.1:0");
        let handle = runtime
            .block_on(async { start(listen.await?, options, Arc::new(model::clock::System)) })
            .unwrap();
        Self { handle, ledger, _runtime: runtime }
    }

    pub(crate) fn audit(&self) -> Audit {
        self.handle.audit()
    }

    /// The members that it paid, in its order.
    fn paid(&self) -> Vec<String> {
        let lines = std::fs::read_to_string(self.ledger.path().join("ledger")).unwrap();
        let member = |line: &str| {
            let effect: serde_json::Value = serde_json::from_str(line).unwrap();
            effect["member"].as_str().unwrap().to_owned()
        };
        lines.lines().map(member).collect()
    }

    /// Changes these fields of its behaviour.
    pub(crate) fn change(&self, fields: &str) {
        let changed = asked(&self.address(), "PUT", "/behaviour", fields).expect("it answers");
        assert_eq!(changed.0, 200, "{}", changed.1);
    }

    pub(crate) fn address(&self) -> String {
        self.handle.address.to_string()
    }
}

/// What is set for all processes.
pub(crate) struct Bounds {
    pub(crate) calls_min: u64,
    pub(crate) calls_max: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) drain_timeout_ms: u64,
}

pub(crate) struct Rig {
    pub(crate) service: Paying,
    layout: Layout,
    medium: Medium,
    postgres: Option<Postgres>,
    started: std::cell::Cell<usize>,
    pub(crate) dir: TempDir,
}

impl Rig {
    /// Starts the servers and writes the configuration. No process runs yet.
    pub(crate) fn start(layout: Layout, behaviour: Behaviour, bounds: &Bounds) -> Self {
        let service = Paying::start(behaviour);
        let url = format!("http://{}/pay", service.address());
        Self::with(layout, service, &url, bounds)
    }

    /// The same with `service` reached by `url`.
    pub(crate) fn with(layout: Layout, service: Paying, url: &str, bounds: &Bounds) -> Self {
        let medium = Medium::start(layout);
        let postgres = (layout != Layout::Journal).then(|| Postgres::start().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let started = std::cell::Cell::new(0);
        let rig = Self { service, layout, medium, postgres, started, dir };
        std::fs::write(rig.dir.path().join("forebay.toml"), rig.toml(url, bounds)).unwrap();
        done(rig.dir.path(), &["store", "migrate"]);
        rig
    }

    fn toml(&self, url: &str, bounds: &Bounds) -> String {
        let key = |name: &str, value: Option<String>| {
            value.map(|value| format!("{name} = \"{value}\"\n")).unwrap_or_default()
        };
        let Bounds { calls_min, calls_max, timeout_ms, drain_timeout_ms } = bounds;
        let payments = key("buffer", self.medium.buffer(self.layout, "tx"));
        let store = key("store", self.postgres.as_ref().map(Postgres::url));
        let buffer = key("buffer", self.medium.buffer(self.layout, "vouchers"));
        format!(
            "{payments}{store}[cards]\nkey_file = \"key\"\n\
             [engine]\ndrain_timeout_ms = {drain_timeout_ms}\n\
             [vouchers]\n{buffer}url = \"{url}\"\ncalls_min = {calls_min}\n\
             calls_max = {calls_max}\ntimeout_ms = {timeout_ms}\n"
        )
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.layout != Layout::Journal
    }

    /// Starts one more process. With a journal it has the folder of the one before.
    pub(crate) fn serve(&self) -> Serving {
        self.started.set(self.started.get() + 1);
        let data =
            if self.is_shared() { format!("data-{}", self.started.get()) } else { "data".into() };
        Serving::start(self.dir.path(), &["--data", &data])
    }

    /// How many rows there are of vouchers, and of different ones.
    pub(crate) fn rows(&self) -> (u64, u64) {
        let sql = "SELECT count(*), count(DISTINCT id) FROM vouchers";
        match &self.postgres {
            Some(postgres) => {
                let Ok(rows) = postgres.query(sql) else { return (0, 0) };
                let number = |at: usize| rows[0][at].as_deref().unwrap().parse().unwrap();
                (number(0), number(1))
            }
            None => {
                let store = rusqlite::Connection::open(self.dir.path().join("data/forebay.db"));
                let row = store.unwrap().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
                row.map(|(all, ids): (i64, i64)| (all.unsigned_abs(), ids.unsigned_abs()))
                    .unwrap_or_default()
            }
        }
    }

    /// Waits until all of these are rows and the buffer has nothing left.
    pub(crate) fn settle(&self, vouchers: u64) {
        until(&(vouchers, vouchers), || self.rows());
        let stat =
            || json(self.dir.path(), &["buffer", "stat", "--pipeline", "vouchers", "--json"]);
        until(&0.into(), || stat()["pending"].clone());
        assert_eq!(stat()["dead"], 0);
    }

    /// Asserts that the service paid each member once, under one id, and those of a key in order, one after the
    /// other.
    pub(crate) fn assert_paid_one_by_one(&self, members: u64) -> Audit {
        let audit = self.assert_paid_once(members);
        assert_eq!(audit.overlaps, 0, "two calls of a key were under way at once: {audit:?}");
        audit
    }

    /// The same without order and overlaps: a service that hangs works on calls that have timed out, and a standard
    /// queue of SQS keeps no order.
    pub(crate) fn assert_paid_once(&self, members: u64) -> Audit {
        let audit = self.service.audit();
        assert_eq!(
            (audit.effects, audit.members, audit.members_twice),
            (members, members, 0),
            "{audit:?}"
        );
        assert_eq!(audit.keys, members, "a call was repeated under another id: {audit:?}");
        if self.layout == Layout::Sqs {
            return audit;
        }
        let mut next: HashMap<String, u64> = HashMap::new();
        for member in self.service.paid() {
            let (key, nth) = member.split_once('.').unwrap();
            let next = next.entry(key.to_owned()).or_default();
            assert_eq!(nth, next.to_string(), "the key {key} was paid out of order");
            *next += 1;
        }
        audit
    }
}

/// Offers so many vouchers, whose keys and members begin with `name`.
pub(crate) fn post(serving: &Serving, name: &str, count: u64) {
    let voucher = |n: u64| {
        let (of, nth) = (n / OF_A_KEY, n % OF_A_KEY);
        format!(
            "{{\"id\":\"{name}v{n}\",\"member\":\"{name}{of}.{nth}\",\"key\":\"{name}{of}\",\"amount\":1}}\n"
        )
    };
    let lines: String = (0..count).map(voucher).collect();
    let (status, answer) = serving.asked("POST", "/v1/vouchers", &lines).expect("it answers");
    assert_eq!(status, 202, "{answer}");
}
