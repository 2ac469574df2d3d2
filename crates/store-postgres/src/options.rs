//! How a store is set up.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::TargetSessionAttrs;

use crate::schema::Schema;
use crate::settings::Settings;

mod url;

/// The port a server is taken to listen on when none is named.
pub(crate) const PORT: u16 = 5432;
/// The most connections a pool may have.
pub(crate) const POOL_MAX: usize = 1_000;
/// A link that is silent for so long is probed, by both ends.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Between probes that are not answered.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How much longer this end waits than the server, whose own timeout says what took so long.
const GRACE: Duration = Duration::from_secs(1);
/// How long an inspection may think between two pages, in milliseconds.
const INSPECTION_IDLE_MS_MAX: u32 = 600_000;
/// Probes until the link counts as dead.
const KEEPALIVE_PROBES: u32 = 3;
/// What was sent and is not confirmed by the other end's kernel for so long ends the link.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(15);

/// How the link to the server is protected. The names and meanings are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS where the server offers it, and whoever answers is taken for the server: protects from
    /// nobody who can change what passes, so checking certificates would protect no better.
    #[default]
    Prefer,
    /// TLS or nothing, and whoever answers is taken for the server: keeps listeners out, but not
    /// somebody who stands in between.
    Require,
    /// TLS or nothing, with a certificate that is good for the host's name.
    VerifyFull,
}

/// How a store is set up. [`Options::from_url`] reads it from a URL, with defaults for the rest.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Servers (name, address, or directory of a Unix socket) with their ports, tried in this
    /// order. Of several the first that takes writes is used.
    pub hosts: Vec<(String, u16)>,
    /// The role to log in as.
    pub user: String,
    /// Its password, if it needs one.
    pub password: Option<String>,
    /// The database.
    pub dbname: String,
    /// The schema in which all tables of the store are: `[a-z_][a-z0-9_]{0,62}`, and not one that
    /// belongs to everybody (`public`) or to PostgreSQL (`pg_…`, `information_schema`).
    pub schema: String,
    /// How the link is protected.
    pub sslmode: SslMode,
    /// PEM file of the authorities that [`SslMode::VerifyFull`] trusts; without it, those this
    /// machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Connections for work, at most; one more keeps the claim on the store.
    pub pool_max: usize,
    /// How long, in milliseconds, a statement may take before the server gives it up.
    pub statement_timeout_ms: u64,
    /// How long, in milliseconds, connecting to one server may take.
    pub connect_timeout_ms: u64,
    /// Whether this process alone settles into the store. Must be so where the buffer is not shared
    /// between processes: two that settle would each screen without the other's payments.
    pub exclusive: bool,
    /// Whether [`open`](crate::open) makes the schema, or brings an older one up.
    pub create: bool,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Settling and looking up.
    Work,
    /// Writing and reading tables of others.
    Tables,
    /// Changing the schema.
    Migrate,
    /// Reading from outside.
    Inspect,
}

impl Options {
    /// What is wrong with these options, if anything is.
    pub(crate) fn check(&self) -> Result<Schema, String> {
        if self.hosts.is_empty() || self.hosts.iter().any(|(host, _)| host.is_empty()) {
            return Err("host: is missing; name the server".into());
        }
        if self.user.is_empty() {
            return Err("user: is missing; name the role to log in as".into());
        }
        if self.dbname.is_empty() {
            return Err("database: is missing; name it after the host's slash".into());
        }
        if !(1..=POOL_MAX).contains(&self.pool_max) {
            return Err(format!("pool_max: must be 1 to {POOL_MAX}"));
        }
        // PostgreSQL keeps it in 32 bits; 0 would mean that it never ends.
        let in_range = |ms: u64| ms > 0 && i32::try_from(ms).is_ok();
        if !in_range(self.statement_timeout_ms) {
            return Err("statement_timeout_ms: must be 1 to 2147483647".into());
        }
        if !in_range(self.connect_timeout_ms) {
            return Err("connect_timeout_ms: must be 1 to 2147483647".into());
        }
        if self.ca_file.is_some() && self.sslmode != SslMode::VerifyFull {
            return Err("ca_file: is read with sslmode=verify-full only; set that as well".into());
        }
        Schema::new(&self.schema)
    }

    pub(crate) fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    /// How long this end waits for an answer.
    pub(crate) fn patience(&self) -> Duration {
        self.statement_timeout() + GRACE
    }

    /// How long connecting to one server may take.
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// How long connecting may take when each server in turn has to be tried.
    pub(crate) fn connect_timeout_of_all(&self) -> Duration {
        let servers = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        self.connect_timeout().saturating_mul(servers)
    }

    /// How to connect.
    pub(crate) fn config(&self, role: Role) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        for (host, port) in &self.hosts {
            config.host(host).port(*port);
        }
        config.user(&self.user).dbname(&self.dbname).application_name("forebay");
        if let Some(password) = &self.password {
            config.password(password);
        }
        config.ssl_mode(match self.sslmode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
        });
        if self.hosts.len() > 1 && role != Role::Inspect {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
            .connect_timeout(self.connect_timeout())
            .tcp_user_timeout(UNCONFIRMED_MAX)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_PROBES)
            .options(self.settings(role).options());
        config
    }

    /// The server's settings for a session, whatever the role or the database has by default.
    pub(crate) fn settings(&self, role: Role) -> Settings {
        let mut settings = Vec::new();
        let mut set = |name, value: &str| settings.push((name, value.to_owned()));
        // Names are always qualified by schema; a type or an operator of somebody else's is never
        // meant, but by the triggers of tables that are theirs.
        if role != Role::Tables {
            set("search_path", "pg_catalog");
        }
        set("timezone", "UTC");
        set("synchronous_commit", "on");
        set("default_transaction_isolation", "read committed");
        set("default_transaction_read_only", if role == Role::Inspect { "on" } else { "off" });
        // A server that waits for the bytes of a COPY sees neither a timeout nor that its client is
        // gone, so it has to probe the link as well.
        set("tcp_keepalives_idle", &KEEPALIVE_IDLE.as_secs().to_string());
        set("tcp_keepalives_interval", &KEEPALIVE_INTERVAL.as_secs().to_string());
        set("tcp_keepalives_count", &KEEPALIVE_PROBES.to_string());
        let ms = self.statement_timeout_ms.to_string();
        match role {
            // Work looks up by index and nothing else. A plan that was made while the table was
            // small must not outlive that.
            Role::Work => {
                set("statement_timeout", &ms);
                set("idle_in_transaction_session_timeout", &ms);
                set("enable_seqscan", "off");
                set("jit", "off");
            }
            // Other people's triggers may do what they like.
            Role::Tables => {
                set("statement_timeout", &ms);
                set("idle_in_transaction_session_timeout", &ms);
            }
            // A migration may rewrite a big table; what it waits for is bounded all the same.
            Role::Migrate => {
                set("statement_timeout", "0");
                set("lock_timeout", &ms);
                set("idle_in_transaction_session_timeout", &ms);
            }
            // It counts whole tables, which takes as long as it takes.
            Role::Inspect => {
                set("statement_timeout", "0");
                let idle = INSPECTION_IDLE_MS_MAX.to_string();
                set("idle_in_transaction_session_timeout", &idle);
            }
        }
        Settings::new(settings)
    }
}

impl fmt::Debug for Options {
    /// Of the password only whether there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("dbname", &self.dbname)
            .field("schema", &self.schema)
            .field("sslmode", &self.sslmode)
            .field("ca_file", &self.ca_file)
            .field("pool_max", &self.pool_max)
            .field("statement_timeout_ms", &self.statement_timeout_ms)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("exclusive", &self.exclusive)
            .field("create", &self.create)
            .finish()
    }
}

impl fmt::Display for Options {
    /// Which store it is, for people: without password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        for (nth, (host, port)) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}:{port}", if nth == 0 { "" } else { "," })?;
        }
        write!(f, "/{} schema {}", self.dbname, self.schema)
    }
}
