//! What whoever runs the tests has set for something else.

use std::process::Command;

/// What the names of variables begin with that `forebay`, or a library of it, reads settings from.
const SETTINGS: [&str; 7] =
    ["FOREBAY_", "POSTGRES_", "PGPASSWORD", "REDIS_", "BATCH_SIZE", "TPS", "AWS_"];

/// Takes all of it away from a command that is yet to be run.
pub fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if SETTINGS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}
