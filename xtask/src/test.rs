//! `cargo xtask test`: the set-up, then every check there is, in order, up to the first failure.
//!
//! A missing server fails the step `test`. A step whose tool is missing is skipped in plain sight
//! on a person's machine and fails on a build server: a check that silently did not run looks
//! exactly like one that passed.

use std::env;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::servers;
use crate::suites;
use crate::tidy;
use crate::tools::{self, Tool};

pub(crate) const HELP: &str = "\
Set up what tests need, then run every check, stopping at the first failure.

Usage: cargo xtask test [OPTIONS]

Steps, in order: fmt, clippy, tidy, deny, test, fuzz.
Missing tools (rustfmt, clippy, cargo-fuzz, cargo-deny) are installed once, and said so first.
So are the servers that tests start (redis-server, postgresql, a Java and a Maven) where apt-get may
install them; Apache Kafka comes from Maven Central and moto, a server of the SQS API, from the
Python package index, both into the user's cache folder.
A step whose tool can't be had is skipped with a line; with CI=true it fails instead. Without the
servers the step test fails, and says what brings them; cargo test --package NAME runs the tests of
a crate that needs none.

Options:
  --only STEP,…      only these steps
  --no-install       install nothing
  --offline          install nothing and keep cargo off the network
  --fuzz-seconds N   how long each fuzz target runs (default 20)

Examples:
  cargo xtask test
  cargo xtask test --only clippy,test --no-install
";

/// How long each fuzz target runs unless told otherwise.
const FUZZ_SECONDS: u32 = 20;
/// The longest input the fuzzer makes: past this, both decoders refuse by length alone.
const FUZZ_INPUT_BYTES_MAX: u32 = 68 * 1024;
/// How long the advisory database may take to arrive.
const ADVISORIES_FETCH_MAX: Duration = Duration::from_secs(90);

/// One check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Fmt,
    Clippy,
    Tidy,
    Deny,
    Test,
    Fuzz,
}

impl Step {
    const ALL: [Self; 6] =
        [Self::Fmt, Self::Clippy, Self::Tidy, Self::Deny, Self::Test, Self::Fuzz];

    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Tidy => "tidy",
            Self::Deny => "deny",
            Self::Test => "test",
            Self::Fuzz => "fuzz",
        }
    }

    fn tool(self) -> Option<Tool> {
        match self {
            Self::Fmt => Some(Tool::Rustfmt),
            Self::Clippy => Some(Tool::Clippy),
            Self::Deny => Some(Tool::Deny),
            Self::Fuzz => Some(Tool::Fuzz),
            Self::Tidy | Self::Test => None,
        }
    }
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    steps: Vec<Step>,
    install: bool,
    offline: bool,
    fuzz_seconds: u32,
    ci: bool,
}

impl Options {
    /// Reads the arguments; `ci` says whether a missing tool is a failure.
    ///
    /// # Errors
    /// One sentence about the argument that can't be used.
    pub(crate) fn parse(args: &[String], ci: bool) -> Result<Self, String> {
        let mut options = Self {
            steps: Step::ALL.to_vec(),
            install: true,
            offline: false,
            fuzz_seconds: FUZZ_SECONDS,
            ci,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--no-install" => options.install = false,
                "--offline" => (options.install, options.offline) = (false, true),
                "--only" => {
                    let names = args.next().ok_or("--only needs step names, e.g. fmt,clippy")?;
                    options.steps = steps(names)?;
                }
                "--fuzz-seconds" => {
                    let seconds = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                    options.fuzz_seconds =
                        seconds.ok_or("--fuzz-seconds needs a whole number above 0")?;
                }
                other => return Err(crate::arguments::unknown("test", other)),
            }
        }
        Ok(options)
    }
}

/// The named steps, in the order they run in whatever the order they were named in.
fn steps(names: &str) -> Result<Vec<Step>, String> {
    let names: Vec<&str> = names.split(',').collect();
    for name in &names {
        if !Step::ALL.iter().any(|step| step.name() == *name) {
            let known: Vec<_> = Step::ALL.iter().map(|step| step.name()).collect();
            return Err(format!("`{name}` is not a step; there are {}", known.join(", ")));
        }
    }
    Ok(Step::ALL.into_iter().filter(|step| names.contains(&step.name())).collect())
}

/// What could not be had, with the reasons.
#[derive(Debug, Default)]
struct Missing {
    tools: Vec<(Tool, String)>,
    servers: Option<String>,
}

impl Missing {
    /// How a step ends that can't even begin.
    fn why_not(&self, step: Step, ci: bool) -> Option<Outcome> {
        let tool = self.tools.iter().find(|(tool, _)| step.tool() == Some(*tool));
        match (tool, &self.servers) {
            (Some((_, why)), _) if ci => Some(Outcome::Failed(why.clone())),
            (Some((_, why)), _) => Some(Outcome::Skipped(why.clone())),
            (None, Some(why)) if step == Step::Test => Some(Outcome::Failed(why.clone())),
            (None, _) => None,
        }
    }
}

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// With what a reader of the summary should know, if anything.
    Passed(&'static str),
    Skipped(String),
    Failed(String),
    NotReached,
}

/// Runs the steps; true when none failed.
///
/// # Errors
/// Never by itself: a failing step is reported in the summary.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let total = Instant::now();
    let missing = set_up(root, options);
    let mut rows = vec![("set-up", Outcome::Passed(""), total.elapsed())];
    let mut stopped = false;
    for step in &options.steps {
        if stopped {
            rows.push((step.name(), Outcome::NotReached, Duration::ZERO));
            continue;
        }
        println!("\n== {} ==", step.name());
        let start = Instant::now();
        let outcome = match missing.why_not(*step, options.ci) {
            Some(outcome) => outcome,
            None => match check(*step, root, options) {
                Ok(note) => Outcome::Passed(note),
                Err(error) => Outcome::Failed(format!("{error:#}")),
            },
        };
        match &outcome {
            Outcome::Skipped(why) => println!("skipped: {why}"),
            Outcome::Failed(why) => println!("failed: {why}"),
            Outcome::Passed(_) | Outcome::NotReached => {}
        }
        println!("-- {}: {:.1} s", step.name(), start.elapsed().as_secs_f64());
        stopped = matches!(outcome, Outcome::Failed(_));
        rows.push((step.name(), outcome, start.elapsed()));
    }
    rows.push(("total", Outcome::Passed(""), total.elapsed()));
    summarize(&rows, stopped);
    Ok(!stopped)
}

fn summarize(rows: &[(&str, Outcome, Duration)], failed: bool) {
    println!("\n== summary ==");
    for (name, outcome, took) in rows {
        let (state, why) = match outcome {
            Outcome::Passed(_) if *name == "total" && failed => ("failed", ""),
            Outcome::Passed(note) => ("ok", *note),
            Outcome::Skipped(why) => ("skipped", why.as_str()),
            Outcome::Failed(why) => ("failed", why.as_str()),
            Outcome::NotReached => ("not run", ""),
        };
        let line = format!("{name:<8} {state:<8} {:>7.1} s  {why}", took.as_secs_f64());
        println!("{}", line.trim_end());
    }
}

/// Provides the tools of the chosen steps; what could not be had comes back with its reason.
fn set_up(root: &Path, options: &Options) -> Missing {
    println!("== set-up ==");
    let mut missing = Missing::default();
    for tool in Tool::ALL {
        if !options.steps.iter().any(|step| step.tool() == Some(tool)) {
            continue;
        }
        if let Err(why) = tools::provide(root, tool, options.install) {
            println!("{why}");
            missing.tools.push((tool, why));
        }
    }
    if options.steps.contains(&Step::Test)
        && let Err(why) = servers::provide(root, options.install)
    {
        println!("{why}");
        missing.servers = Some(why);
    }
    let dataset = env::var("TEST_DATASET").is_ok_and(|path| Path::new(&path).is_file());
    if options.steps.contains(&Step::Test) && !dataset {
        println!("data set: TEST_DATASET names no file, so the replay of real payments is skipped");
    }
    missing
}

/// Runs one step. What a passing step left out comes back as a note for the summary.
fn check(step: Step, root: &Path, options: &Options) -> Result<&'static str> {
    let command = |args: &[&str]| {
        let mut command = process::command(root, "cargo", args);
        if options.offline {
            command.env("CARGO_NET_OFFLINE", "true");
        }
        command
    };
    let cargo = |args: &[&str]| process::run(&mut command(args));
    let done = match step {
        Step::Fmt => {
            cargo(&["fmt", "--all", "--check"])?;
            cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
        }
        Step::Clippy => {
            cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
        }
        Step::Tidy => {
            if !tidy::run(root)? {
                bail!("tidy has findings");
            }
            Ok(())
        }
        Step::Deny => {
            cargo(&["deny", "--locked", "check", "bans", "licenses", "sources"])?;
            return advisories(root, options);
        }
        Step::Test => {
            let in_memory = env::var_os("TEST_SERVERS").is_none() && servers::fit_in_memory();
            suites::run(root, |command| {
                if in_memory {
                    command.env("TEST_SERVERS", servers::IN_MEMORY);
                }
                if options.offline {
                    command.env("CARGO_NET_OFFLINE", "true");
                }
            })
        }
        Step::Fuzz => fuzz(root, options),
    };
    done.map(|()| "")
}

/// Known vulnerabilities in the dependency tree, when the database of them can be reached.
fn advisories(root: &Path, options: &Options) -> Result<&'static str> {
    let mut fetch = process::command(root, "cargo", &["deny", "fetch", "db"]);
    if options.offline || !process::succeeds_within(&mut fetch, ADVISORIES_FETCH_MAX) {
        println!("advisories: not checked, the advisory database can't be reached from here");
        return Ok("advisories not checked");
    }
    let args = ["deny", "--locked", "check", "--disable-fetch", "advisories"];
    match process::run(&mut process::command(root, "cargo", &args)) {
        Ok(()) => Ok(""),
        Err(error) if options.ci => Err(error),
        // What was published overnight must not keep a newcomer from running the tests.
        Err(error) => {
            println!("advisories: {error}; please report it, the checks go on");
            Ok("advisories found, see above")
        }
    }
}

/// Runs every fuzz target for a while, from the committed seeds.
fn fuzz(root: &Path, options: &Options) -> Result<()> {
    let folder = root.join("fuzz/fuzz_targets");
    let mut targets = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{} is gone", folder.display()))? {
        let path = entry?.path();
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
            targets.push(stem.to_string());
        }
    }
    targets.sort();
    if targets.is_empty() {
        bail!("fuzz/fuzz_targets holds no target");
    }
    let seconds = format!("-max_total_time={}", options.fuzz_seconds);
    let length = format!("-max_len={FUZZ_INPUT_BYTES_MAX}");
    for target in &targets {
        let (corpus, seeds) = (format!("corpus/{target}"), format!("seeds/{target}"));
        fs::create_dir_all(root.join("fuzz").join(&corpus))?;
        // Our code holds no `unsafe`: panics and overflows are what is looked for, and without a
        // sanitizer the fuzzer tries several times as many inputs in the same seconds.
        let args = ["run", "nightly", "cargo", "fuzz", "run", "--sanitizer", "none", target];
        let mut command = process::command(&root.join("fuzz"), "rustup", &args);
        command.args([
            &corpus,
            &seeds,
            "--",
            &seconds,
            &length,
            "-verbosity=0",
            "-print_final_stats=1",
        ]);
        if options.offline {
            command.env("CARGO_NET_OFFLINE", "true");
        }
        process::run(&mut command)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Options::parse(&args, false)
    }

    #[test]
    fn without_arguments_every_step_runs_and_tools_are_installed() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.steps, Step::ALL);
        assert!(options.install && !options.offline);
    }

    #[test]
    fn chosen_steps_run_in_their_own_order() {
        assert_eq!(parse(&["--only", "test,fmt"]).unwrap().steps, [Step::Fmt, Step::Test]);
    }

    #[test]
    fn offline_installs_nothing() {
        let options = parse(&["--offline"]).unwrap();
        assert!(options.offline && !options.install);
    }

    #[test]
    fn a_missing_server_fails_the_tests_and_no_other_step() {
        let missing =
            Missing { servers: Some("redis-server is missing".into()), tools: Vec::new() };
        for ci in [true, false] {
            let failed = Outcome::Failed("redis-server is missing".into());
            assert_eq!(missing.why_not(Step::Test, ci), Some(failed));
            assert_eq!(missing.why_not(Step::Clippy, ci), None);
            assert_eq!(Missing::default().why_not(Step::Test, ci), None);
        }
    }

    #[test]
    fn a_missing_tool_fails_its_step_on_a_build_server_and_skips_it_elsewhere() {
        let tools = vec![(Tool::Deny, "no cargo-deny".to_owned())];
        let missing = Missing { tools, servers: None };
        let why = || "no cargo-deny".to_owned();
        assert_eq!(missing.why_not(Step::Deny, true), Some(Outcome::Failed(why())));
        assert_eq!(missing.why_not(Step::Deny, false), Some(Outcome::Skipped(why())));
        assert_eq!(missing.why_not(Step::Test, true), None);
    }

    #[test]
    fn unusable_options_name_what_is_wrong() {
        assert!(parse(&["--only", "fmt,sing"]).unwrap_err().contains("`sing`"));
        assert!(parse(&["--only"]).unwrap_err().contains("--only"));
        assert!(parse(&["--fuzz-seconds", "0"]).unwrap_err().contains("above 0"));
    }
}
