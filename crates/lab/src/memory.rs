//! How much memory this process has used.

/// The most memory this process ever had resident, in MiB, as the kernel keeps it (`VmHWM` in
/// `/proc/self/status`). `None` where there is no such file: anything but Linux.
#[must_use]
pub fn rss_mib_max() -> Option<f64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(f64::from(kib) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_in_mib() {
        assert_eq!(parse("Name:\tx\nVmHWM:\t   20480 kB\nVmRSS:\t 1 kB\n"), Some(20.0));
        assert_eq!(parse("Name:\tx\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_running_process_has_used_some() {
        assert!(rss_mib_max().unwrap() > 1.0);
    }
}
