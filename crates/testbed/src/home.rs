//! A server's folder, and the watcher that outlives us to clear it away.
//!
//! The watcher is a shell that reads a pipe whose other end only this process holds. It is told the
//! server's process id; when the pipe closes, because we are done or dead, it kills that process
//! and its children and removes the folder. A signal on the parent's death would be simpler and is
//! wrong: it is sent when the *thread* ends that started the server, and a test's thread ends early.

use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

use crate::program::User;

/// Each line is the process to kill from now on; an empty one is none. PostgreSQL holds one thing
/// outside its folder, the segment of shared memory that guards its data, named in the seventh line
/// of its lock file. A second try at removing the folder is for a child of the server that still
/// wrote during the first.
const WATCH: &str = r#"
now=
while read -r pid; do now=$pid; done
[ -z "$now" ] || kill -9 "$now" $(cat "/proc/$now/task/$now/children" 2>/dev/null)
segment=$(sed -n 7p "$1/data/postmaster.pid" 2>/dev/null)
[ -z "$segment" ] || ipcrm -m "${segment##* }"
rm -rf -- "$1" || { sleep 0.3; rm -rf -- "$1"; }
"#;

/// A folder that is removed when this is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    watcher: Child,
    /// Closed by dropping it.
    told: Option<ChildStdin>,
}

impl Home {
    /// A new folder where `TEST_SERVERS` says, or else in the system's temporary one. It belongs to
    /// `user` or else to us.
    pub(crate) fn new(name: &str, user: Option<User>) -> Result<Self> {
        let within =
            std::env::var_os("TEST_SERVERS").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder =
            tempfile::Builder::new().prefix(&format!("testbed-{name}-")).tempdir_in(&within);
        let folder = folder.with_context(|| format!("no folder in {}", within.display()))?;
        if let Some(user) = user {
            chown(folder.path(), Some(user.uid), Some(user.gid))
                .with_context(|| format!("could not give {} away", folder.path().display()))?;
        }
        let mut watcher = Command::new("sh")
            .args(["-c", WATCH, "watcher"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C is for us: the watcher is what cleans up after it.
            .process_group(0)
            .spawn()
            .context("the watcher (`sh`) could not be started")?;
        let told = watcher.stdin.take();
        // From here on the watcher removes it.
        Ok(Self { path: folder.keep(), watcher, told })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says which process is to die with us from now on.
    pub(crate) fn watch(&mut self, pid: Option<u32>) -> Result<()> {
        let line = pid.map_or_else(|| "\n".into(), |pid| format!("{pid}\n"));
        let told = self.told.as_mut().context("the watcher is gone")?;
        told.write_all(line.as_bytes()).context("the watcher is gone")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.told.take());
        // It ends by itself once the folder is gone; whether it could is not ours to tell here.
        let _ = self.watcher.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_a_home_removes_it_and_ends_who_lived_there() {
        let mut home = Home::new("test", None).unwrap();
        let path = home.path().to_path_buf();
        std::fs::write(path.join("file"), "x").unwrap();
        let mut tenant = Command::new("sleep").arg("30").spawn().unwrap();
        home.watch(Some(tenant.id())).unwrap();
        drop(home);
        assert!(!tenant.wait().unwrap().success());
        assert!(!path.exists());
    }

    #[test]
    fn who_has_moved_out_is_let_be() {
        let mut home = Home::new("test", None).unwrap();
        let mut former = Command::new("sleep").arg("30").spawn().unwrap();
        home.watch(Some(former.id())).unwrap();
        home.watch(None).unwrap();
        drop(home);
        assert_eq!(former.try_wait().unwrap(), None);
        former.kill().unwrap();
        former.wait().unwrap();
    }
}
