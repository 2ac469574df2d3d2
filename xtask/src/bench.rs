//! `cargo xtask bench`: the benches, and a record of the run beside the machine it ran on.
//!
//! A figure without its machine says nothing, so a kept run always opens with the machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::process;

pub(crate) const HELP: &str = "\
Run the benches: each prints our figure, the raw ceiling measured in the same run, and the ratio.

Usage: cargo xtask bench [--save] [NAME…] [-- ARGS…]

NAME and ARGS go to the bench program as they are; without any, every bench runs.

Options:
  --quick   a tenth of the work, to see that they run
  --save    keep the run in docs/benchmarks, with notes about this machine

BENCH_PEER names the consumer in Python that redis-peer measures against.

Examples:
  cargo xtask bench
  cargo xtask bench journal-offer screening --save
";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    save: bool,
    pass: Vec<String>,
}

impl Options {
    /// Reads the arguments: ours up to `--`, whatever follows is the bench program's.
    ///
    /// # Errors
    /// One sentence about the argument that can't be used.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--save" => options.save = true,
                "--quick" => options.pass.push(arg.clone()),
                "--" => options.pass.extend(args.by_ref().cloned()),
                flag if flag.starts_with('-') => return Err(crate::unknown("bench", flag)),
                name => options.pass.push(name.to_string()),
            }
        }
        Ok(options)
    }
}

/// Runs the benches; true when the program was content.
///
/// # Errors
/// If it can't be started, or the run can't be kept.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    // Latency and memory are those of the real binary.
    let build = ["build", "--release", "--package", "forebay", "--locked"];
    if !process::command(root, "cargo", &build).status().context("could not start cargo")?.success()
    {
        return Ok(false);
    }
    let args = ["bench", "--package", "lab", "--bench", "forebay", "--locked", "--"];
    let mut command = process::command(root, "cargo", &args);
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    command.args(&options.pass).env("BENCH_BINARY", target.join("release/forebay"));
    // A server's speed is that of its disk.
    command.env_remove("TEST_SERVERS");
    if !options.save {
        return Ok(command.status().context("could not start cargo")?.success());
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("could not start cargo")?;
    let Some(stdout) = child.stdout.take() else { bail!("cargo gave no standard output") };
    let mut kept = machine(root);
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
    let folder = root.join("docs/benchmarks");
    fs::create_dir_all(&folder)?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let path = free_name(&folder, &date);
    fs::write(&path, kept).with_context(|| format!("could not write {}", path.display()))?;
    println!("kept in {}", path.strip_prefix(root).unwrap_or(&path).display());
    Ok(true)
}

/// `DATE.txt`, or `DATE-2.txt` and so on: an earlier run of the day is never overwritten.
fn free_name(folder: &Path, date: &str) -> PathBuf {
    let first = folder.join(format!("{date}.txt"));
    let later = (2_u32..).map(|n| folder.join(format!("{date}-{n}.txt")));
    std::iter::once(first).chain(later).find(|path| !path.exists()).expect("some number is free")
}

/// Notes about the machine, each on a line that opens with `#`.
fn machine(root: &Path) -> String {
    let ask = |program: &str, args: &[&str]| {
        process::output(&mut process::command(root, program, args))
            .map_or_else(|_| "unknown".to_string(), |out| out.trim().to_string())
    };
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
        value.unwrap_or("unknown").to_string()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let notes = [
        ("when", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
        ("commit", ask("git", &["describe", "--always", "--dirty", "--abbrev=12"])),
        ("cpu", field("/proc/cpuinfo", "model name")),
        ("cores", cores.to_string()),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", ask("uname", &["-sr"])),
        ("disk", ask("stat", &["--file-system", "--format", "%T", "."])),
        ("rustc", ask("rustc", &["--version"])),
    ];
    notes.iter().map(|(name, value)| format!("# {name:<7} {value}\n")).collect()
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
        let options = parse(&["journal", "--save", "--", "--quick"]).unwrap();
        assert!(options.save);
        assert_eq!(options.pass, ["journal", "--quick"]);
        assert_eq!(parse(&["--quick"]).unwrap().pass, ["--quick"]);
        assert!(parse(&["--quik"]).is_err());
    }

    #[test]
    fn an_earlier_run_of_the_day_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["2026-01-31.txt", "2026-01-31-2.txt"] {
            assert_eq!(free_name(folder.path(), "2026-01-31"), folder.path().join(name));
            fs::write(folder.path().join(name), "").unwrap();
        }
    }

    #[test]
    fn a_kept_run_opens_with_its_machine() {
        let notes = machine(Path::new("."));
        for name in ["cpu", "cores", "kernel", "rustc"] {
            assert!(notes.contains(&format!("# {name}")), "{notes}");
        }
    }
}
