//! The machine a comparison was made on: figures without it say nothing.

use std::fmt;

/// The machine a comparison was made on. What can't be known is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Machine {
    /// As the processor calls itself.
    pub cpu: Option<String>,
    /// Cores this process may use.
    pub cores: Option<usize>,
    /// Main memory, in MiB.
    pub memory_mib: Option<u64>,
    /// The operating system and its version.
    pub kernel: Option<String>,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn read() -> Self {
        let file = |path| std::fs::read_to_string(path).unwrap_or_default();
        let release = file("/proc/sys/kernel/osrelease");
        let release = Some(release.trim()).filter(|release| !release.is_empty());
        Self {
            cpu: field(&file("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            memory_mib: memory_mib(&file("/proc/meminfo")),
            kernel: release.map(|release| format!("Linux {release}")),
        }
    }
}

impl fmt::Display for Machine {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |mib: u64| format!("{:.0} GiB", mib as f64 / 1024.0);
        let parts = [
            self.cpu.clone(),
            self.cores
                .map(|cores| format!("{cores} {}", if cores == 1 { "core" } else { "cores" })),
            self.memory_mib.map(gib),
            self.kernel.clone(),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "unknown" } else { "" })?;
        f.write_str(&parts.join(" · "))
    }
}

/// The first value of `name` in lines of `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    values.find(|value| !value.is_empty()).map(str::to_owned)
}

fn memory_mib(meminfo: &str) -> Option<u64> {
    let kib: u64 = field(meminfo, "MemTotal")?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_the_first_of_its_name() {
        let text = "processor\t: 0\nmodel name\t: A: fast\nmodel\t: 1\nmodel name\t: B\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A: fast"));
        assert_eq!(field(text, "cpu"), None);
        assert_eq!(memory_mib("MemTotal:       24682416 kB\nMemFree: 1 kB\n"), Some(24_103));
        assert_eq!(memory_mib("MemTotal: much\n"), None);
    }

    #[test]
    fn one_line_says_what_is_known() {
        let machine = Machine {
            cpu: Some("A".into()),
            cores: Some(1),
            memory_mib: Some(24_103),
            kernel: Some("Linux 6.1".into()),
        };
        assert_eq!(machine.to_string(), "A · 1 core · 24 GiB · Linux 6.1");
        assert_eq!(Machine { cores: Some(2), ..Machine::default() }.to_string(), "2 cores");
        assert_eq!(Machine::default().to_string(), "unknown");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_cores_memory_and_a_kernel() {
        let machine = Machine::read();
        assert!(machine.cores.unwrap() > 0 && machine.memory_mib.unwrap() > 0, "{machine}");
        assert!(machine.kernel.unwrap().starts_with("Linux "));
    }
}
