//! Which process this is, where several are shown side by side.

use std::sync::OnceLock;

/// The name of this machine.
pub(crate) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if host.is_empty() { "host".to_owned() } else { host.to_owned() }
}

/// The host's name and the process's id: another process has another.
pub(crate) fn process() -> String {
    format!("{}:{}", host(), std::process::id())
}

/// The same, and unlike that of an earlier process with this id.
pub(crate) fn start() -> &'static str {
    static START: OnceLock<String> = OnceLock::new();
    START.get_or_init(|| format!("{}:{:06x}", process(), rand::random::<u32>() & 0x00ff_ffff))
}
