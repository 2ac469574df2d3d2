//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The least that a process needs: its journal, its store, the runtime, and a few connections.
const OPEN_FILES_MIN: u64 = 64;

/// Raises the soft limit of open files to the hard one, as servers do: each connection is a file.
///
/// # Errors
/// If the hard limit is below 64: a sentence that says what to do.
pub fn raise_limit() -> Result<(), String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is "unlimited".
    let raised = Rlimit { current: maximum, maximum };
    let limit = if current == maximum || setrlimit(Resource::Nofile, raised).is_ok() {
        maximum
    } else {
        current
    };
    if let Some(limit) = limit.filter(|limit| *limit < OPEN_FILES_MIN) {
        return Err(format!(
            "cannot start: this process may open {limit} files, and needs {OPEN_FILES_MIN}; raise the \
             limit with `ulimit -n`, or LimitNOFILE= in a systemd unit"
        ));
    }
    Ok(())
}
