//! What the tests need beside the compiler: looked for, and installed where that is possible.

use std::path::Path;

use crate::process;

/// Built with the compiler this repository asks for; a newer one that is already there is used.
const CARGO_DENY_VERSION: &str = "0.20.2";
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// The tools a chore may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The formatter.
    Rustfmt,
    /// The linter.
    Clippy,
    /// Licences, bans and sources of the dependency tree.
    Deny,
    /// Fuzzing, with the nightly compiler it needs.
    Fuzz,
}

impl Tool {
    /// All of them, the quick ones first.
    pub(crate) const ALL: [Self; 4] = [Self::Rustfmt, Self::Clippy, Self::Fuzz, Self::Deny];

    /// The name it is installed under.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rustfmt => "rustfmt",
            Self::Clippy => "clippy",
            Self::Deny => "cargo-deny",
            Self::Fuzz => "cargo-fuzz",
        }
    }

    fn present(self, root: &Path) -> bool {
        let args: &[&str] = match self {
            Self::Rustfmt => &["fmt", "--version"],
            Self::Clippy => &["clippy", "--version"],
            Self::Deny => &["deny", "--version"],
            Self::Fuzz => &["fuzz", "--version"],
        };
        process::succeeds(&mut process::command(root, "cargo", args))
    }
}

/// Makes sure that a tool is there, installing it if `install` allows.
///
/// # Errors
/// One sentence that says what is missing and what to do about it.
pub(crate) fn provide(root: &Path, tool: Tool, install: bool) -> Result<(), String> {
    // Without the compiler the tool is of no use, and a whole toolchain is not ours to install.
    if tool == Tool::Fuzz && !nightly(root) {
        let by_hand = "rustup toolchain install nightly";
        return Err(format!("cargo-fuzz needs a nightly compiler; `{by_hand}` brings it"));
    }
    if tool.present(root) {
        return Ok(());
    }
    let name = tool.name();
    let by_hand = match tool {
        Tool::Rustfmt | Tool::Clippy => format!("rustup component add {name}"),
        Tool::Deny => format!("cargo install --locked {name}@{CARGO_DENY_VERSION}"),
        Tool::Fuzz => format!("cargo install --locked {name}@{CARGO_FUZZ_VERSION}"),
    };
    if !install {
        return Err(format!("{name} is missing and installing is off; `{by_hand}` brings it"));
    }
    println!("{name} is missing: installing it, once ({})", expectation(tool));
    let (program, args) = by_hand.split_once(' ').unwrap_or((&by_hand, ""));
    let args: Vec<&str> = args.split(' ').collect();
    let mut command = process::command(root, program, &args);
    // The tool's own release profile asks for a slow, whole-program build; ours is run once a day.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    // A target folder set for this repository would otherwise be filled with the tool's objects.
    command.env_remove("CARGO_TARGET_DIR");
    process::run(&mut command)
        .map_err(|error| format!("{name} could not be installed: {error}; `{by_hand}` shows why"))
}

fn expectation(tool: Tool) -> &'static str {
    match tool {
        Tool::Rustfmt | Tool::Clippy => "a few megabytes",
        Tool::Fuzz => "about a minute; --no-install skips it",
        Tool::Deny => "some minutes of compiling; --no-install skips it",
    }
}

fn nightly(root: &Path) -> bool {
    let mut rustup = process::command(root, "rustup", &["toolchain", "list"]);
    process::output(&mut rustup)
        .is_ok_and(|list| list.lines().any(|line| line.starts_with("nightly")))
}
