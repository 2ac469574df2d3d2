//! One Apache Kafka broker, its own controller (KRaft mode).

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::home::Home;
use crate::port::Port;
use crate::process::{Process, Program};
use crate::program;

/// The version whose jars are used; `xtask` fetches the same.
const VERSION: &str = "4.1.0";
/// What the broker logs once clients may come.
const STARTED: &str = "Kafka Server started";
/// Any will do, of the right form.
const CLUSTER_ID: &str = "Zm9yZWJheS10ZXN0YmVkMA";
/// Small and quick to start: a test's broker lives for seconds.
const JAVA: &[&str] =
    &["-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];
/// What the broker is told, before what the test wants otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    // Tests don't wait for others to join, and one that was killed is given up soon.
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"),
    ("broker.session.timeout.ms", "3000"),
    ("broker.heartbeat.interval.ms", "500"),
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("num.partitions", "1"),
    ("log.cleaner.dedupe.buffer.size", "8388608"),
    ("log.retention.check.interval.ms", "1000"),
];
/// Little, and on standard output.
const LOGGING: &str = "\
status=WARN
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m (%c)%n
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=INFO
";

/// A broker of its own; gone when dropped.
#[derive(Debug)]
pub struct Kafka {
    port: Port,
    /// Of its controller.
    _controller: Port,
    log: PathBuf,
    process: Mutex<Process>,
}

impl Kafka {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// If Java or the jars are missing, or it doesn't start; the error says what to do about it.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with these settings (as in `server.properties`) in place of the usual ones, where
    /// `{address}` and `{controller}` are where it listens.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let java = program::find("java", "default-jre-headless")?;
        let classes = format!("{}/*", jars()?.display());
        let (port, controller) = (Port::free()?, Port::free()?);
        let home = Home::new("kafka", None)?;
        let (properties, logging) =
            (home.path().join("server.properties"), home.path().join("log4j2.properties"));
        fs::write(&properties, written(home.path(), &port, &controller, settings))
            .context("the broker's settings can't be written")?;
        fs::write(&logging, LOGGING).context("the broker's logging can't be set")?;
        let mut args: Vec<String> = JAVA.iter().map(ToString::to_string).collect();
        args.push(format!("-Dlog4j2.configurationFile={}", logging.display()));
        args.extend(["-cp".to_owned(), classes]);
        format(&java, &args, &properties)?;
        args.extend(["kafka.Kafka".to_owned(), properties.display().to_string()]);
        let log = home.path().join("log");
        let program =
            Program { path: java, args, user: None, stop: Signal::TERM, abort: Signal::KILL };
        let process = Mutex::new(Process::new(program, home));
        let kafka = Self { port, _controller: controller, log, process };
        kafka.start_again()?;
        Ok(kafka)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// `kafka://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("kafka://{}", self.address())
    }

    /// The id of its process, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process().id()
    }

    /// Whether it was started and neither stopped nor killed since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process().is_running()
    }

    /// Shuts it down in good order. Does nothing to one that doesn't run.
    pub fn stop(&self) {
        self.process().stop();
    }

    /// Ends it as `kill -9` does. Does nothing to one that doesn't run.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts it with what it had kept, on the same port, and waits until it answers. Does nothing
    /// to one that runs.
    ///
    /// # Errors
    /// If it doesn't start; the error quotes its log.
    pub fn start_again(&self) -> Result<()> {
        let from = fs::metadata(&self.log).map_or(0, |log| log.len());
        self.process().start(|| {
            ensure!(logged(&self.log, from)?.contains(STARTED), "the broker is not up yet");
            Ok(())
        })
    }

    /// Keeps it from running: connections stay open, and nobody answers.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process().resume();
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the broker's jars are.
fn jars() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    let jars = cache.join("forebay").join(format!("kafka-{VERSION}"));
    if !jars.is_dir() {
        bail!("Apache Kafka {VERSION} is not in {}: `cargo xtask test` fetches it", jars.display());
    }
    Ok(jars)
}

fn written(home: &Path, port: &Port, controller: &Port, settings: &[(&str, &str)]) -> String {
    let listeners = format!("PLAINTEXT://{},CONTROLLER://{}", port.address(), controller.address());
    let mut all: Vec<(String, String)> = vec![
        ("listeners".into(), listeners),
        ("advertised.listeners".into(), format!("PLAINTEXT://{}", port.address())),
        ("controller.quorum.voters".into(), format!("1@{}", controller.address())),
        ("log.dirs".into(), home.join("data").display().to_string()),
    ];
    for (name, value) in SETTINGS.iter().chain(settings) {
        all.retain(|(known, _)| known != name);
        // Where it listens is not known to whoever writes the settings.
        let value = value.replace("{address}", &port.address());
        all.push(((*name).to_owned(), value.replace("{controller}", &controller.address())));
    }
    all.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// Lays out the broker's folder.
fn format(java: &Path, args: &[String], properties: &Path) -> Result<()> {
    let output = Command::new(java)
        .args(args)
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
        .arg(properties)
        .output()
        .context("`java` could not be started")?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "kafka format failed: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// What the log says from this byte on.
fn logged(log: &Path, from: u64) -> Result<String> {
    let mut file = File::open(log).context("there is no log yet")?;
    file.seek(SeekFrom::Start(from)).context("the log can't be read")?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("the log can't be read")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
