//! `cargo xtask bench --against COMMIT`: the working tree against a commit, in pairs of runs.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};

use super::build::Place;
use super::interval::PAIRS_MAX;
use super::pairs::Plan;
use super::{record, report};

/// With fewer a full-length comparison proves too little.
const PAIRS_MIN: u32 = 15;

/// What to compare with, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(super) commit: String,
    pub(super) names: Vec<String>,
    pub(super) pairs: u32,
    pub(super) quick: bool,
    pub(super) save: bool,
    pub(super) json: bool,
}

/// Reads how many pairs are asked for.
///
/// # Errors
/// If it is no number in the bounds.
pub(super) fn pairs(asked: Option<&str>, quick: bool) -> Result<u32, String> {
    let Some(asked) = asked else { return Ok(PAIRS_MIN) };
    let least = if quick { 1 } else { PAIRS_MIN };
    let within = |pairs: &u32| (least..=PAIRS_MAX).contains(pairs);
    asked.parse().ok().filter(within).ok_or_else(|| {
        let hint = if quick { "" } else { "; with --quick fewer than 15 are allowed" };
        format!("cannot run `{asked}` pairs; choose from {least} to {PAIRS_MAX}{hint}")
    })
}

/// Builds both sides, runs the pairs and prints what they say; true when all pairs were measured.
///
/// # Errors
/// If a side cannot be built, lacks a bench, or no pair could be measured.
pub(super) fn run(root: &Path, target: &Path, options: &Options) -> Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    // The worktree is to go whichever way we end.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot await signals")?;
    }
    let own = target.join("against");
    fs::create_dir_all(&own)?;
    let lock = File::create(own.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!("another `bench --against` runs in this target folder; wait for it to end")
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).context("cannot lock the target folder");
        }
    }
    let place = Place { root, target, own: &own, stop: &stop };
    let hash = place.commit(&options.commit)?;
    let before = place.of_commit(&hash)?;
    let after = place.working_tree()?;
    let mut args = options.names.clone();
    args.extend(options.quick.then(|| "--quick".to_owned()));
    let plan = Plan {
        before: &before,
        after: &after,
        args: &args,
        pairs: options.pairs,
        folder: &own,
        stop: &stop,
    };
    plan.check_names(&options.names)?;
    let mut kept = record::machine(root);
    kept.push_str(&format!("# before  {hash}\n# args    {}\n\n", args.join(" ")));
    measure(&plan, options, &hash, root, kept)
}

fn measure(
    plan: &Plan<'_>,
    options: &Options,
    hash: &str,
    root: &Path,
    kept: String,
) -> Result<bool> {
    let mut kept = kept;
    let (pairs, ended) = plan.run(&mut |line| {
        println!("{line}");
        kept.push_str(line);
        kept.push('\n');
    });
    if let (Some(_), true) = (&ended, pairs.is_empty()) {
        return ended.map_or(Ok(false), Err);
    }
    let (compared, unmatched) = (report::compare(&pairs), report::unmatched(&pairs));
    let text = report::text(&compared, &unmatched);
    print!("{text}");
    kept.push_str(&text);
    if options.json {
        println!("{}", report::line(hash, &plan.after.name, &compared, &unmatched));
    }
    if let Some(error) = ended {
        println!(
            "only {} of {} pairs were measured, nothing is kept: {error:#}",
            pairs.len(),
            plan.pairs
        );
        return Ok(false);
    }
    if options.save {
        record::keep(root, &format!("-against-{}", &hash[..hash.len().min(12)]), &kept)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::process::{command, output};

    #[test]
    fn fewer_pairs_than_fifteen_are_for_quick_runs_alone() {
        assert_eq!(pairs(None, false), Ok(15));
        assert_eq!(pairs(Some("20"), false), Ok(20));
        assert_eq!(pairs(Some("3"), true), Ok(3));
        for (asked, quick) in [("14", false), ("0", true), ("101", false), ("many", true)] {
            assert!(pairs(Some(asked), quick).is_err(), "{asked}");
        }
    }

    /// A repository with a binary and a bench program, which prints `offers`.
    struct Repository(tempfile::TempDir);

    impl Repository {
        fn new() -> Self {
            let repository = Self(tempfile::tempdir().unwrap());
            repository.write(
                "Cargo.toml",
                "[workspace]\nmembers = [\"forebay\", \"lab\"]\nresolver = \"3\"\n",
            );
            let package = |name: &str| {
                format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n")
            };
            let locked =
                |name: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\n\n");
            let lock = format!("version = 4\n\n{}{}", locked("forebay"), locked("lab"));
            repository.write("Cargo.lock", &lock);
            repository.write(".gitignore", "/target\n");
            repository.write("forebay/Cargo.toml", &package("forebay"));
            repository.write("forebay/src/main.rs", "fn main() {}\n");
            let bench = "[[bench]]\nname = \"forebay\"\nharness = false\n";
            repository.write("lab/Cargo.toml", &(package("lab") + bench));
            repository.write("lab/src/lib.rs", "");
            repository.git(&["init", "--quiet"]);
            repository
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn target(&self) -> PathBuf {
            self.path().join("target")
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn git(&self, args: &[&str]) -> String {
            let who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"];
            output(command(self.path(), "git", &who).args(args)).unwrap()
        }

        fn bench(&self, offers: u32) {
            let printed = format!("\"offers  {offers}  400  0.50  ≥ 0.4  yes  events/s · n\"");
            self.write(
                "lab/benches/forebay.rs",
                &format!(
                    "fn main() {{
                        let name = std::env::args().nth(1).unwrap_or_default();
                        if name != \"offers\" {{
                            eprintln!(\"no bench is called {{name}}; there are offers, others\");
                            std::process::exit(2);
                        }}
                        assert!(std::path::Path::new(&std::env::var(\"BENCH_BINARY\").unwrap()).exists());
                        println!(\"what  ours  ceiling  ratio  target  held  unit · note\");
                        println!({printed});
                    }}\n"
                ),
            );
        }

        fn run(&self, commit: &str, name: &str) -> Result<bool> {
            let options = Options {
                commit: commit.into(),
                names: vec![name.into()],
                pairs: 6,
                quick: true,
                save: true,
                json: true,
            };
            run(self.path(), &self.target(), &options)
        }

        /// No worktree is left, neither as a folder nor in what git knows.
        fn check_tidy(&self) {
            assert!(!self.target().join("against/tree").exists());
            assert_eq!(self.git(&["worktree", "list"]).lines().count(), 1);
        }
    }

    #[test]
    fn the_working_tree_is_compared_with_a_commit_and_the_worktree_is_gone() {
        let repository = Repository::new();
        repository.bench(200);
        repository.git(&["add", "--all"]);
        repository.git(&["commit", "--quiet", "--message", "first"]);
        repository.bench(190);
        assert!(repository.run("HEAD", "offers").unwrap());
        repository.check_tidy();
        let kept: Vec<PathBuf> = fs::read_dir(repository.path().join("docs/benchmarks"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let text = fs::read_to_string(&kept[0]).unwrap();
        for part in [
            "# cpu",
            "pair 6 of 6: offers 0.950",
            "offers · events/s, more is better: 200.0 before, 190.0 after · worse",
            "  ours            0.950  0.950 to 0.950",
        ] {
            assert!(text.contains(part), "{text}");
        }

        // Again, without a build of the commit.
        let hash = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
        let program = repository.target().join("against/programs").join(&hash).join("bench");
        let built = fs::metadata(&program).unwrap().modified().unwrap();
        assert!(repository.run(&hash, "offers").unwrap());
        assert_eq!(fs::metadata(&program).unwrap().modified().unwrap(), built);

        let error = repository.run("HEAD", "misspelt").unwrap_err().to_string();
        assert!(error.contains("has no bench of that name; choose from offers, others"), "{error}");
        let error = format!("{:#}", repository.run("no-such-commit", "offers").unwrap_err());
        assert!(error.starts_with("cannot find commit `no-such-commit`"), "{error}");
        repository.check_tidy();
    }

    #[test]
    fn a_commit_that_does_not_compile_is_named_and_its_worktree_is_gone() {
        let repository = Repository::new();
        repository.write("lab/benches/forebay.rs", "fn main() { nothing() }\n");
        repository.git(&["add", "--all"]);
        repository.git(&["commit", "--quiet", "--message", "first"]);
        let error = format!("{:#}", repository.run("HEAD", "offers").unwrap_err());
        assert!(error.starts_with("cannot build commit "), "{error}");
        assert!(error.contains("cargo ended with exit status"), "{error}");
        repository.check_tidy();
    }
}
