//! Two bench programs, run in turn: before and after, after and before, and so on.
//!
//! A machine that grows slower or quicker meanwhile then favours neither, and two runs that follow each other
//! have much of their noise in common, which a ratio of the two takes out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::figure::{self, Figure};
use crate::process::{self, Finished};

/// How long one run of a bench program may take.
const RUN_MAX: Duration = Duration::from_secs(2 * 3600);
/// How long a bench program may take to name its benches.
const NAMES_MAX: Duration = Duration::from_secs(60);
/// No bench has this name; a program that is asked for it names those it has.
const NO_BENCH: &str = "?";
/// How much of a failed run's last words is shown.
const LAST_LINES: usize = 5;

/// One of the two that are compared.
#[derive(Debug, Clone)]
pub(super) struct Side {
    /// As people know it: a commit, or the working tree.
    pub(super) name: String,
    /// The bench program.
    pub(super) bench: PathBuf,
    /// The binary that it measures as a whole.
    pub(super) binary: PathBuf,
}

/// What to run, and how often.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) before: &'a Side,
    pub(super) after: &'a Side,
    /// What the bench programs are given.
    pub(super) args: &'a [String],
    pub(super) pairs: u32,
    /// Where runs put their files; it is on the disk that is measured.
    pub(super) folder: &'a Path,
    /// Set when the user wants to stop.
    pub(super) stop: &'a AtomicBool,
}

/// What one pair of runs printed.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) before: Vec<Figure>,
    pub(super) after: Vec<Figure>,
}

impl Plan<'_> {
    /// Runs all pairs, with a line for each. Also what ended them early, if something did: the pairs before
    /// that are whole.
    pub(super) fn run(&self, say: &mut dyn FnMut(&str)) -> (Vec<Pair>, Option<anyhow::Error>) {
        let (mut pairs, started) = (Vec::new(), Instant::now());
        for number in 1..=self.pairs {
            let pair = match self.pair(number) {
                Ok(pair) => pair,
                Err(error) => return (pairs, Some(error.context(format!("pair {number} failed")))),
            };
            let left = started.elapsed() / number * (self.pairs - number);
            say(&line(number, self.pairs, &pair, left));
            pairs.push(pair);
        }
        (pairs, None)
    }

    fn pair(&self, number: u32) -> Result<Pair> {
        if number % 2 == 1 {
            let before = self.measure(self.before)?;
            Ok(Pair { before, after: self.measure(self.after)? })
        } else {
            let after = self.measure(self.after)?;
            Ok(Pair { before: self.measure(self.before)?, after })
        }
    }

    fn measure(&self, side: &Side) -> Result<Vec<Figure>> {
        let printed = || -> Result<String> {
            let folder = tempfile::tempdir_in(self.folder)?;
            let mut command = Command::new(&side.bench);
            command.args(self.args).current_dir(folder.path()).env("BENCH_BINARY", &side.binary);
            // A server's speed is that of its disk.
            command.env_remove("TEST_SERVERS");
            let run = process::finish(&mut command, RUN_MAX, self.stop)?;
            ensure!(
                run.status.success(),
                "the bench program ended with {}: {}",
                run.status,
                last(&run)
            );
            Ok(run.stdout)
        };
        printed()
            .and_then(|printed| figure::parse(&printed))
            .with_context(|| format!("cannot measure {}", side.name))
    }

    /// # Errors
    /// If one of the two programs has no bench of a name that was asked for.
    pub(super) fn check_names(&self, names: &[String]) -> Result<()> {
        for side in [self.before, self.after] {
            let Some(known) = self.known(side)? else { continue };
            if let Some(name) = names.iter().find(|name| !known.contains(name)) {
                bail!(
                    "cannot compare `{name}`: {} has no bench of that name; choose from {}",
                    side.name,
                    known.join(", ")
                );
            }
        }
        Ok(())
    }

    /// The benches that a program has; none if it names them in words we do not know.
    fn known(&self, side: &Side) -> Result<Option<Vec<String>>> {
        let mut command = Command::new(&side.bench);
        command.arg(NO_BENCH).current_dir(self.folder);
        let answer = process::finish(&mut command, NAMES_MAX, self.stop)?;
        let names = answer.stderr.trim().split_once("there are ");
        Ok(names.map(|(_, names)| names.split(", ").map(str::to_owned).collect()))
    }
}

/// The end of what a run that failed said.
fn last(run: &Finished) -> String {
    let said = if run.stderr.trim().is_empty() { &run.stdout } else { &run.stderr };
    let lines: Vec<&str> = said.trim().lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("; ")
}

/// One pair's line of progress.
fn line(number: u32, of: u32, pair: &Pair, left: Duration) -> String {
    let ratios: Vec<String> = matched(pair)
        .map(|(before, after)| format!("{} {:.3}", after.what, after.ours / before.ours))
        .collect();
    let seconds = left.as_secs();
    let left = match seconds {
        0 => String::new(),
        1..=90 => format!("; about {seconds} s left"),
        _ => format!("; about {} min left", seconds.div_ceil(60)),
    };
    format!("pair {number} of {of}: {}{left}", ratios.join(", "))
}

/// The figures that both runs of a pair have.
pub(super) fn matched(pair: &Pair) -> impl Iterator<Item = (&Figure, &Figure)> {
    pair.after.iter().filter_map(|after| {
        let same = |before: &&Figure| before.what == after.what && before.unit == after.unit;
        pair.before.iter().find(same).map(|before| (before, after))
    })
}

/// Makes a program for tests: what it prints may depend on how often it ran.
#[cfg(test)]
pub(super) fn fake(folder: &Path, name: &str, script: &str) -> Side {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    let bench = folder.join(name);
    fs::write(&bench, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&bench, fs::Permissions::from_mode(0o700)).unwrap();
    Side { name: name.into(), bench: bench.clone(), binary: bench }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEAD: &str = "echo 'what  ours  ceiling  ratio  target  held  unit · note'\n";

    fn run(before: &str, after: &str, pairs: u32) -> (Vec<String>, Vec<Pair>, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let side = |name: &str, script: &str| {
            let log = format!("echo {name} >> {}\n", log.display());
            fake(folder.path(), name, &format!("{log}{HEAD}{script}"))
        };
        let (before, after) = (side("before", before), side("after", after));
        let plan = Plan {
            before: &before,
            after: &after,
            args: &[],
            pairs,
            folder: folder.path(),
            stop: &AtomicBool::new(false),
        };
        let mut said = Vec::new();
        let (pairs, ended) = plan.run(&mut |line| said.push(line.to_owned()));
        let order = fs::read_to_string(&log).unwrap();
        said.push(order.split_whitespace().collect::<Vec<_>>().join(" "));
        (said, pairs, ended.map(|error| format!("{error:#}")))
    }

    #[test]
    fn the_two_take_turns_and_each_pair_has_its_line() {
        let (said, pairs, ended) =
            run("echo 'offer  200  x/s · n'", "echo 'offer  100  x/s · n'", 3);
        assert_eq!((pairs.len(), ended), (3, None));
        assert!(said[0].starts_with("pair 1 of 3: offer 0.500"), "{said:?}");
        assert_eq!(said[2], "pair 3 of 3: offer 0.500");
        assert_eq!(said[3], "before after after before before after");
    }

    #[test]
    fn a_run_that_fails_ends_the_pairs_with_its_last_words() {
        let good = "echo 'offer  200  x/s · n'";
        let (_, pairs, ended) = run(good, "echo no disk >&2; exit 1", 3);
        let ended = ended.unwrap();
        assert!(pairs.is_empty());
        for part in ["pair 1 failed", "cannot measure after", "no disk"] {
            assert!(ended.contains(part), "{ended}");
        }
    }

    #[test]
    fn a_figure_of_another_unit_is_no_match() {
        let (said, pairs, _) = run("echo 'offer  200  ms · n'", "echo 'offer  100  µs · n'", 1);
        assert_eq!(matched(&pairs[0]).count(), 0, "{said:?}");
    }

    #[test]
    fn a_name_that_one_of_the_two_lacks_is_told_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        let script =
            |names: &str| format!("echo \"no bench is called $1; there are {names}\" >&2; exit 2");
        let before = fake(folder.path(), "the old one", &script("http, screening"));
        let after = fake(folder.path(), "the new one", &script("http, screening, tables"));
        let (args, stop) = ([], AtomicBool::new(false));
        let folder = folder.path();
        let plan =
            Plan { before: &before, after: &after, args: &args, pairs: 1, folder, stop: &stop };
        plan.check_names(&["http".into(), "screening".into()]).unwrap();
        let error = plan.check_names(&["http".into(), "tables".into()]).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot compare `tables`: the old one has no bench of that name; choose from http, screening"
        );
    }
}
