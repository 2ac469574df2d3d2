//! `cargo xtask bench`: the benches once, or the working tree against a commit in pairs of runs.

mod against;
mod build;
mod figure;
mod interval;
mod pairs;
mod record;
mod report;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::process;

pub(crate) const HELP: &str = "\
Run the benches: each prints our figure, the raw ceiling measured in the same run, and the ratio.

Usage: cargo xtask bench [--save] [NAME…] [-- ARGS…]
       cargo xtask bench --against COMMIT [--pairs N] [--quick] [--save] [--json] NAME…

NAME and ARGS go to the bench program as they are; without any, every bench runs.

--against builds COMMIT and the working tree and runs their bench programs in turn (before, after, after,
before, …). It prints the median of after ÷ before over the pairs, its interval at 95%, the lowest and the
highest. COMMIT is built in a worktree, which is removed; its target folder and programs stay in
target/against, so that the next comparison starts sooner.

Options:
  --quick           a tenth of the work: to see that they run, or with --against for shorter pairs
  --save            keep the run in docs/benchmarks, with notes about this machine
  --against COMMIT  compare the working tree with this commit
  --pairs N         pairs of runs, 15 to 100 (default 15); with --quick from 1
  --json            with --against: print the comparison as a last line of JSON, too

BENCH_PEER names the consumer in Python that redis-peer measures against.

Examples:
  cargo xtask bench
  cargo xtask bench journal-offer screening --save
  cargo xtask bench --against HEAD~1 --quick journal-offer pipeline
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Options {
    Once { save: bool, pass: Vec<String> },
    Against(against::Options),
}

/// The arguments, before it is known which of the two uses they belong to.
#[derive(Default)]
struct Given {
    save: bool,
    quick: bool,
    json: bool,
    against: Option<String>,
    pairs: Option<String>,
    names: Vec<String>,
    pass: Vec<String>,
}

impl Options {
    /// Reads the arguments: ours up to `--`, whatever follows is the bench program's.
    ///
    /// # Errors
    /// One sentence about the argument that can't be used.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut given = Given::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = |what: &str| {
                args.next().cloned().ok_or_else(|| format!("{arg} needs {what} after it"))
            };
            match arg.as_str() {
                "--save" => given.save = true,
                "--quick" => given.quick = true,
                "--json" => given.json = true,
                "--against" => given.against = Some(value("a commit")?),
                "--pairs" => given.pairs = Some(value("a number")?),
                "--" => given.pass.extend(args.by_ref().cloned()),
                flag if flag.starts_with('-') => {
                    return Err(crate::arguments::unknown("bench", flag));
                }
                name => given.names.push(name.to_string()),
            }
        }
        given.options()
    }
}

impl Given {
    fn options(self) -> Result<Options, String> {
        let Self { save, quick, json, against, pairs, mut names, pass } = self;
        let Some(commit) = against else {
            if json || pairs.is_some() {
                return Err("--pairs and --json are for comparisons; add --against COMMIT".into());
            }
            names.extend(quick.then(|| "--quick".to_owned()));
            names.extend(pass);
            return Ok(Options::Once { save, pass: names });
        };
        if names.is_empty() {
            return Err("cannot compare all benches, which takes many hours; name some".into());
        }
        if !pass.is_empty() {
            return Err("cannot pass arguments on to two programs; leave out `--`".into());
        }
        let pairs = against::pairs(pairs.as_deref(), quick)?;
        Ok(Options::Against(against::Options { commit, names, pairs, quick, save, json }))
    }
}

/// Runs the benches; true when the program was content.
///
/// # Errors
/// If it can't be started, or the run can't be kept.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    match options {
        Options::Once { save, pass } => once(root, &target, *save, pass),
        Options::Against(options) => against::run(root, &target, options),
    }
}

fn once(root: &Path, target: &Path, save: bool, pass: &[String]) -> Result<bool> {
    // Latency and memory are those of the real binary.
    let build = ["build", "--release", "--package", "forebay", "--locked"];
    if !process::command(root, "cargo", &build).status().context("could not start cargo")?.success()
    {
        return Ok(false);
    }
    let args = ["bench", "--package", "lab", "--bench", "forebay", "--locked", "--"];
    let mut command = process::command(root, "cargo", &args);
    command.args(pass).env("BENCH_BINARY", target.join("release/forebay"));
    // A server's speed is that of its disk.
    command.env_remove("TEST_SERVERS");
    if !save {
        return Ok(command.status().context("could not start cargo")?.success());
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("could not start cargo")?;
    let Some(stdout) = child.stdout.take() else { bail!("cargo gave no standard output") };
    let mut kept = record::machine(root);
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        std::io::stdout().flush()?;
        kept.push_str(line.trim_end());
        kept.push('\n');
    }
    if !child.wait()?.success() {
        println!("the run failed, so it is not kept");
        return Ok(false);
    }
    record::keep(root, "", &kept)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Options::parse(&args)
    }

    #[test]
    fn names_and_what_follows_the_dashes_go_to_the_program() {
        let once = |save, pass: &[&str]| {
            Ok(Options::Once { save, pass: pass.iter().map(ToString::to_string).collect() })
        };
        assert_eq!(
            parse(&["journal", "--save", "--", "--quick"]),
            once(true, &["journal", "--quick"])
        );
        assert_eq!(parse(&["--quick"]), once(false, &["--quick"]));
        assert!(parse(&["--quik"]).is_err());
    }

    #[test]
    fn a_comparison_needs_a_commit_and_a_name() {
        let Ok(Options::Against(options)) =
            parse(&["--against", "HEAD~1", "http", "--quick", "--pairs", "6", "--json"])
        else {
            panic!("not taken for a comparison")
        };
        assert_eq!((options.commit.as_str(), options.pairs), ("HEAD~1", 6));
        assert_eq!(options.names, ["http"]);
        assert!(options.quick && options.json && !options.save);
        for args in [
            &["--against"][..],
            &["--against", "HEAD"],
            &["--against", "HEAD", "http", "--pairs", "6"],
            &["--against", "HEAD", "http", "--", "--json"],
            &["http", "--pairs", "20"],
            &["http", "--json"],
        ] {
            assert!(parse(args).is_err(), "{args:?} was taken");
        }
    }
}
