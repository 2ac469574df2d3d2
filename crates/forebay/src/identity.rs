//! Which process this is, where several are shown side by side.

/// The host's name and the process's id: another process has another.
pub(crate) fn process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "host" } else { host };
    format!("{host}:{}", std::process::id())
}
