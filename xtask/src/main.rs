//! One entry point for every chore: `cargo xtask VERB`.
//!
//! Each verb is a module that reads its own arguments into options and runs them. Arguments are
//! read whole before anything happens, so exit code 2 always means that nothing was done.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to a person")]

mod arguments;
mod bench;
mod ci;
mod kafka;
mod process;
mod servers;
mod suites;
mod test;
mod tidy;
mod tools;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use arguments::unknown;

const HELP: &str = "\
One entry point for every chore.

Usage: cargo xtask <VERB> [OPTIONS]

Verbs:
  test    set up what tests need, then format, lints, tidy, licences, all tests, a short fuzz run
  tidy    check the rules of the house: layers, sizes, names, documents
  bench   run the benches, or with --against compare with a commit in pairs of runs
  ci      run .ci/run in a fresh clone, as a build server would

`cargo xtask <VERB> --help` says more. Exit code: 0 done, 1 found trouble, 2 unusable arguments.

Examples:
  cargo xtask test
  cargo xtask test --only fmt,clippy,tidy
  cargo xtask bench journal-offer --save
";

/// What a verb does with its arguments.
enum Asked {
    /// Print this and stop.
    Help(&'static str),
    /// Do the chore; true when all was well.
    Run(Box<dyn FnOnce() -> anyhow::Result<bool>>),
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match ask(&args) {
        Ok(Asked::Help(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(chore)) => match chore() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(error) => {
                eprintln!("xtask: {error:#}");
                ExitCode::from(1)
            }
        },
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::from(2)
        }
    }
}

fn ask(args: &[String]) -> Result<Asked, String> {
    let Some((verb, rest)) = args.split_first() else {
        return Err("no verb given; `cargo xtask --help` lists them".into());
    };
    let help = rest.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--help" || arg == "-h");
    let root = root();
    match verb.as_str() {
        "help" | "--help" | "-h" => Ok(Asked::Help(HELP)),
        "test" if help => Ok(Asked::Help(test::HELP)),
        "tidy" if help => Ok(Asked::Help(tidy::HELP)),
        "bench" if help => Ok(Asked::Help(bench::HELP)),
        "ci" if help => Ok(Asked::Help(ci::HELP)),
        "test" => {
            let options = test::Options::parse(rest, process::in_ci())?;
            Ok(Asked::Run(Box::new(move || test::run(&root, &options))))
        }
        "tidy" => match rest {
            [] => Ok(Asked::Run(Box::new(move || tidy::run(&root)))),
            [arg, ..] => Err(unknown("tidy", arg)),
        },
        "bench" => {
            let options = bench::Options::parse(rest)?;
            Ok(Asked::Run(Box::new(move || bench::run(&root, &options))))
        }
        "ci" => {
            let options = ci::Options::parse(rest)?;
            Ok(Asked::Run(Box::new(move || ci::run(&root, &options))))
        }
        other => Err(format!("`{other}` is not a verb; `cargo xtask --help` lists them")),
    }
}

/// The repository's root: the folder above this crate.
fn root() -> PathBuf {
    // Cargo sets the variable when it runs us; the fallback serves a binary started by hand.
    let own =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let own = PathBuf::from(own);
    own.parent().map_or_else(|| own.clone(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(args: &[&str]) -> Option<String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        ask(&args).err()
    }

    #[test]
    fn unusable_arguments_are_refused_before_anything_runs() {
        for args in [
            &[][..],
            &["frobnicate"],
            &["tidy", "--quick"],
            &["test", "--only", "sing"],
            &["test", "--fuzz-seconds", "many"],
            &["bench", "--keep"],
            &["ci", "now"],
        ] {
            assert!(problem(args).is_some(), "{args:?} was taken");
        }
    }

    #[test]
    fn every_verb_explains_itself() {
        for verb in ["test", "tidy", "bench", "ci"] {
            let args = [verb.to_string(), "--help".to_string()];
            let Ok(Asked::Help(text)) = ask(&args) else { panic!("{verb} has no help") };
            assert!(text.contains("Example"), "{verb} shows no example");
        }
    }
}
