//! The servers that tests start for themselves: only their programs have to be there.

mod moto;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{kafka, process};

/// Where Debian keeps PostgreSQL's programs, one folder a version, outside the search path.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";
/// Asked by Debian's packages whether the service they bring may be started.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// 101 says no.
const POLICY_NO: &str = "\
#!/bin/sh
# Written by `cargo xtask test` while it installs packages, and removed by it; safe to remove.
exit 101
";

/// A file system in memory, which every Linux has.
pub(crate) const IN_MEMORY: &str = "/dev/shm";
/// What the servers of one run keep at most, with room to spare.
const KEPT_BYTES_MAX: u64 = 6 << 30;

/// A server that tests start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Redis,
    Postgres,
    PgBouncer,
    /// What a Kafka broker runs on.
    Java,
    /// What fetches the broker.
    Maven,
}

impl Server {
    const ALL: [Self; 5] = [Self::Redis, Self::Postgres, Self::PgBouncer, Self::Java, Self::Maven];

    /// The Debian package that brings it.
    fn package(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Postgres => "postgresql",
            Self::PgBouncer => "pgbouncer",
            Self::Java => "default-jre-headless",
            Self::Maven => "maven",
        }
    }

    /// The programs that tests call.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["redis-server"],
            Self::Postgres => &["postgres", "initdb"],
            Self::PgBouncer => &["pgbouncer"],
            Self::Java => &["java"],
            Self::Maven => &["mvn"],
        }
    }

    fn present(self, folders: &[PathBuf]) -> bool {
        if self == Self::Maven && kafka::present() {
            return true;
        }
        self.callable(folders)
    }

    fn callable(self, folders: &[PathBuf]) -> bool {
        let found = |program: &&str| folders.iter().any(|folder| folder.join(program).is_file());
        self.programs().iter().all(found)
    }
}

/// Whether what the servers of the tests keep has room in memory. They are killed but never lose power,
/// so no test needs their disk, and a shared one stalls for seconds: Redis then answers nobody.
pub(crate) fn fit_in_memory() -> bool {
    let Ok(disk) = rustix::fs::statvfs(IN_MEMORY) else { return false };
    disk.f_bavail.saturating_mul(disk.f_frsize) >= KEPT_BYTES_MAX
}

/// Makes sure that the servers are there, installing them if `install` allows and the system lets us.
///
/// # Errors
/// One sentence that says what is missing and what to do about it.
pub(crate) fn provide(root: &Path, install: bool) -> Result<(), String> {
    let mut provided = vec![packages(root, install), moto::provide(root, install)];
    // A broker that can be fetched is fetched, whatever else is missing.
    if Server::Maven.present(&folders()) {
        provided.push(kafka::provide(root, install));
    }
    let missing: Vec<_> = provided.into_iter().filter_map(Result::err).collect();
    if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
}

/// Those that come as Debian's packages.
fn packages(root: &Path, install: bool) -> Result<(), String> {
    let missing = missing(&folders());
    let packages = missing.iter().map(|server| server.package()).collect::<Vec<_>>();
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" and ");
    let by_hand = format!("apt-get install {}", packages.join(" "));
    if !install {
        return Err(format!("{names} missing and installing is off; `{by_hand}` brings it"));
    }
    if !may_install(root) {
        return Err(format!("{names} missing; `{by_hand}`, as root on Debian, brings it"));
    }
    println!("{names} missing: installing, once (some tens of megabytes; --no-install skips it)");
    let installed = install_packages(root, &packages);
    installed
        .map_err(|error| format!("{names} could not be installed: {error}; try `{by_hand}`"))?;
    match self::missing(&folders()).first() {
        None => Ok(()),
        Some(server) => Err(format!("{} brought no server; try `{by_hand}`", server.package())),
    }
}

fn missing(folders: &[PathBuf]) -> Vec<Server> {
    Server::ALL.into_iter().filter(|server| !server.present(folders)).collect()
}

/// Where programs are looked for.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let versions = fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    // Debian keeps pgbouncer there, which is not in everybody's search path.
    folders.push("/usr/sbin".into());
    folders
}

fn may_install(root: &Path) -> bool {
    let id = process::output(&mut process::command(root, "id", &["-u"]));
    id.is_ok_and(|id| id.trim() == "0")
        && process::succeeds(&mut process::command(root, "apt-get", &["--version"]))
}

fn install_packages(root: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let _quiet = Quiet::new(Path::new(POLICY))?;
    let apt = |args: &[&str]| {
        let mut command = process::command(root, "apt-get", args);
        process::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "--quiet"])?;
    let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
    apt(&[&install[..], packages].concat())
}

/// While it is there, a package that is installed does not start its service. A machine that has
/// a policy of its own keeps it.
#[derive(Debug)]
struct Quiet<'a> {
    ours: Option<&'a Path>,
}

impl<'a> Quiet<'a> {
    fn new(policy: &'a Path) -> std::io::Result<Self> {
        if policy.exists() {
            return Ok(Self { ours: None });
        }
        fs::write(policy, POLICY_NO)?;
        let quiet = Self { ours: Some(policy) };
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(quiet)
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Some(policy) = self.ours
            && let Err(error) = fs::remove_file(policy)
        {
            println!("{} could not be removed, please do: {error}", policy.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_there_when_all_its_programs_are() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().join("none"), folder.path().to_path_buf()];
        let put = |name: &str| fs::write(folder.path().join(name), "").unwrap();
        let missing = || -> Vec<Server> {
            Server::ALL.into_iter().filter(|server| !server.callable(&folders)).collect()
        };
        assert_eq!(missing(), Server::ALL);
        put("redis-server");
        put("java");
        put("mvn");
        put("postgres");
        assert_eq!(missing(), [Server::Postgres, Server::PgBouncer]);
        put("initdb");
        assert_eq!(missing(), [Server::PgBouncer]);
        put("pgbouncer");
        assert_eq!(missing(), []);
    }

    #[test]
    fn services_are_kept_from_starting_only_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy");
        let quiet = Quiet::new(&policy).unwrap();
        let status = std::process::Command::new(&policy).status().unwrap();
        assert_eq!(status.code(), Some(101));
        drop(quiet);
        assert!(!policy.exists());
    }

    #[test]
    fn a_policy_that_is_there_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy");
        fs::write(&policy, "theirs").unwrap();
        drop(Quiet::new(&policy).unwrap());
        assert_eq!(fs::read_to_string(&policy).unwrap(), "theirs");
    }
}
