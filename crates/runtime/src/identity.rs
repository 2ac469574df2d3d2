//! Which process this is, where several are shown side by side.

use std::sync::OnceLock;

/// The name of this machine.
#[must_use]
pub fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if host.is_empty() { "host".to_owned() } else { host.to_owned() }
}

/// The id of this process, the same wherever processes are shown or recorded: `host:pid:5d01af`. An earlier
/// process of this host with the same number has another.
#[must_use]
pub fn process() -> &'static str {
    static PROCESS: OnceLock<String> = OnceLock::new();
    PROCESS.get_or_init(|| {
        let start = rand::random::<u32>() & 0x00ff_ffff;
        format!("{}:{}:{start:06x}", host(), std::process::id())
    })
}
