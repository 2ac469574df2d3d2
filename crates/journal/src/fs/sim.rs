//! Files in memory that fail on request and forget what was not synced.
//!
//! The model is the unkind end of what POSIX allows: until a successful `sync_data` each dirty page
//! may or may not survive a crash, independently of the others; a failed one leaves its pages clean
//! without saying which reached the medium (so that a second, successful one proves nothing); a
//! directory entry may be lost until the directory is synced. All choices come from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{File, Fs};

const PAGE_BYTES: usize = 512;

/// What may go wrong, each one in how many operations of its kind (0: never).
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// One in so many writes is short.
    pub short_write: u32,
    /// One in so many syncs fails.
    pub failed_sync: u32,
    /// One in so many allocations, and writes that make a file longer, finds no space.
    pub no_space: u32,
}

/// Which calls on one file fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Writes; nothing of them reaches the file.
    Writes,
    /// Syncs; as with [`Faults::failed_sync`], some pages reach the medium.
    Syncs,
    /// Writes panic, as a fault in the program would.
    Panics,
}

/// A simulated medium. Clones share it.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<Medium>>);

struct Medium {
    random: u64,
    faults: Faults,
    /// Operations until everything fails, as when the machine stops between two calls.
    crash_after: Option<u64>,
    crashed: bool,
    operations: u64,
    broken: BTreeMap<usize, Broken>,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

struct Handle {
    medium: Arc<Mutex<Medium>>,
    inode: usize,
}

impl Sim {
    /// An empty medium without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Medium {
            random: seed | 1,
            faults: Faults::default(),
            crash_after: None,
            crashed: false,
            operations: 0,
            broken: BTreeMap::new(),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
        })))
    }

    /// From now on, these faults.
    pub fn set_faults(&self, faults: Faults) {
        held(&self.0).faults = faults;
    }

    /// From now on these calls on the file at `path` fail, or none.
    pub fn set_broken(&self, path: &Path, broken: Option<Broken>) {
        let mut medium = held(&self.0);
        let Some(&inode) = medium.names.get(path) else { return };
        match broken {
            Some(broken) => medium.broken.insert(inode, broken),
            None => medium.broken.remove(&inode),
        };
    }

    /// Stops the machine after `operations` more calls: that call and all later ones fail.
    pub fn crash_after(&self, operations: u64) {
        held(&self.0).crash_after = Some(operations);
    }

    /// How many calls were made so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        held(&self.0).operations
    }

    /// Power loss and restart: what was not synced survives or not, by chance. Faults are off.
    pub fn restart(&self) {
        self.kill();
        let mut medium = held(&self.0);
        medium.lose_entries();
        for inode in 0..medium.inodes.len() {
            medium.lose_pages(inode);
        }
    }

    /// The process ends and the machine goes on: nothing is lost yet. Faults are off.
    pub fn kill(&self) {
        let mut medium = held(&self.0);
        medium.faults = Faults::default();
        medium.crash_after = None;
        medium.crashed = false;
        medium.broken.clear();
    }

    /// Overwrites bytes of a file on the medium itself, as decay would.
    pub fn damage(&self, path: &Path, offset: usize, with: &[u8]) {
        let mut medium = held(&self.0);
        let Some(&inode) = medium.names.get(path) else { return };
        let inode = &mut medium.inodes[inode];
        for bytes in [&mut inode.bytes, &mut inode.durable] {
            if let Some(place) = bytes.get_mut(offset..offset + with.len()) {
                place.copy_from_slice(with);
            }
        }
    }
}

fn held(medium: &Mutex<Medium>) -> MutexGuard<'_, Medium> {
    medium.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Medium {
    /// Xorshift64*: a few lines, and the same on every machine.
    fn next(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn one_in(&mut self, n: u32) -> bool {
        n != 0 && (self.next() >> 33).is_multiple_of(u64::from(n))
    }

    fn operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        if let Some(left) = &mut self.crash_after {
            if *left == 0 {
                self.crashed = true;
            } else {
                *left -= 1;
            }
        }
        if self.crashed { Err(io::Error::other("the machine stopped")) } else { Ok(()) }
    }

    /// Each entry that the directory was not synced for is in its old or its new state.
    fn lose_entries(&mut self) {
        let paths: BTreeSet<PathBuf> =
            self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        for path in paths {
            let (now, then) =
                (self.names.get(&path).copied(), self.durable_names.get(&path).copied());
            let survivor = if now == then || self.one_in(2) { now } else { then };
            match survivor {
                Some(inode) => self.names.insert(path, inode),
                None => self.names.remove(&path),
            };
        }
        self.durable_names = self.names.clone();
    }

    fn lose_pages(&mut self, inode: usize) {
        let dirty = std::mem::take(&mut self.inodes[inode].dirty);
        for page in dirty {
            if self.one_in(2) {
                self.inodes[inode].persist(page);
            }
        }
        let inode = &mut self.inodes[inode];
        inode.bytes.clone_from(&inode.durable);
    }
}

impl Inode {
    fn persist(&mut self, page: usize) {
        let start = page * PAGE_BYTES;
        let end = (start + PAGE_BYTES).min(self.bytes.len());
        if start >= end {
            return;
        }
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.bytes[start..end]);
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files are small")
}

impl File for Handle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut medium = held(&self.medium);
        let stopping = medium.operation();
        let faults = medium.faults;
        match medium.broken.get(&self.inode) {
            Some(Broken::Writes) => return Err(io::Error::other("input/output error")),
            Some(Broken::Panics) => panic!("a write that panics on request"),
            Some(Broken::Syncs) | None => {}
        }
        let grows = medium.inodes[self.inode].bytes.len() < at(offset) + bytes.len();
        if stopping.is_ok() && grows && medium.one_in(faults.no_space) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let short = bytes.len() > 1 && (stopping.is_err() || medium.one_in(faults.short_write));
        let n = if short { 1 + at(medium.next()) % (bytes.len() - 1) } else { bytes.len() };
        let file = &mut medium.inodes[self.inode];
        let (start, end) = (at(offset), at(offset) + n);
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes[start..end].copy_from_slice(&bytes[..n]);
        file.dirty.extend(start / PAGE_BYTES..=(end - 1) / PAGE_BYTES);
        // A machine that stops in the middle of a write may have done part of it.
        stopping.map(|()| n)
    }

    fn read_at(&self, into: &mut Vec<u8>, max: usize, offset: u64) -> io::Result<usize> {
        let medium = held(&self.medium);
        let bytes = &medium.inodes[self.inode].bytes;
        let start = at(offset).min(bytes.len());
        let end = (start + max).min(bytes.len());
        into.extend_from_slice(&bytes[start..end]);
        Ok(end - start)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut medium = held(&self.medium);
        medium.operation()?;
        let faults = medium.faults;
        let broken = medium.broken.get(&self.inode) == Some(&Broken::Syncs);
        let failed = medium.one_in(faults.failed_sync) || broken;
        let dirty = std::mem::take(&mut medium.inodes[self.inode].dirty);
        for page in dirty {
            if !failed || medium.one_in(2) {
                medium.inodes[self.inode].persist(page);
            }
        }
        if failed {
            return Err(io::Error::other("input/output error"));
        }
        let file = &mut medium.inodes[self.inode];
        let len = file.bytes.len();
        file.durable.resize(len, 0);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut medium = held(&self.medium);
        medium.operation()?;
        let file = &mut medium.inodes[self.inode];
        file.bytes.resize(at(len), 0);
        let pages = file.bytes.len().div_ceil(PAGE_BYTES);
        file.dirty.retain(|page| *page < pages);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut medium = held(&self.medium);
        medium.operation()?;
        let faults = medium.faults;
        if medium.one_in(faults.no_space) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut medium.inodes[self.inode];
        let len = at(len).max(file.bytes.len());
        file.bytes.resize(len, 0);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(held(&self.medium).inodes[self.inode].bytes.len() as u64)
    }
}

impl Fs for Sim {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let medium = held(&self.0);
        Ok(medium.names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let mut medium = held(&self.0);
        let inode = match medium.names.get(path) {
            Some(inode) => *inode,
            None if create => {
                medium.operation()?;
                medium.inodes.push(Inode::default());
                let inode = medium.inodes.len() - 1;
                medium.names.insert(path.to_owned(), inode);
                inode
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(Handle { medium: self.0.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut medium = held(&self.0);
        medium.operation()?;
        let inode = medium.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        medium.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut medium = held(&self.0);
        medium.operation()?;
        medium.names.remove(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut medium = held(&self.0);
        medium.operation()?;
        medium.durable_names.retain(|path, _| path.parent() != Some(dir));
        let entries: Vec<_> = medium
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir))
            .map(|(path, inode)| (path.clone(), *inode))
            .collect();
        medium.durable_names.extend(entries);
        Ok(())
    }

    fn free(&self, _dir: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        Ok(Some(Box::new(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::write_all_at;

    fn file(sim: &Sim) -> Arc<dyn File> {
        sim.open(Path::new("d/f"), true).unwrap()
    }

    fn content(sim: &Sim) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        sim.open(Path::new("d/f"), false).ok()?.read_at(&mut bytes, 1 << 20, 0).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_synced_survives_and_what_was_not_may_be_lost() {
        let (mut lost, mut kept) = (0, 0);
        for seed in 0..64 {
            let sim = Sim::new(seed * 7919 + 1);
            let f = file(&sim);
            write_all_at(&*f, &[1; 600], 0).unwrap();
            f.sync_data().unwrap();
            sim.sync_dir(Path::new("d")).unwrap();
            write_all_at(&*f, &[2; 600], 600).unwrap();
            sim.restart();
            let bytes = content(&sim).unwrap();
            assert!(bytes[..600].iter().all(|b| *b == 1));
            if bytes.get(1199) == Some(&2) { kept += 1 } else { lost += 1 }
        }
        assert!(lost > 5 && kept > 5, "lost {lost}, kept {kept}");
    }

    #[test]
    fn a_second_sync_after_a_failed_one_proves_nothing() {
        let mut lost = 0;
        for seed in 0..32 {
            let sim = Sim::new(seed * 7919 + 1);
            let f = file(&sim);
            sim.sync_dir(Path::new("d")).unwrap();
            write_all_at(&*f, &[1; 600], 0).unwrap();
            sim.set_faults(Faults { failed_sync: 1, ..Faults::default() });
            assert!(f.sync_data().is_err());
            sim.set_faults(Faults::default());
            f.sync_data().unwrap();
            sim.restart();
            lost += usize::from(content(&sim).unwrap().iter().any(|b| *b != 1));
        }
        assert!(lost > 0);
    }

    #[test]
    fn an_entry_may_be_lost_until_its_directory_is_synced() {
        let survived = (0..32)
            .filter(|seed| {
                let sim = Sim::new(seed * 7919 + 1);
                file(&sim).sync_data().unwrap();
                sim.restart();
                content(&sim).is_some()
            })
            .count();
        assert!(survived > 0 && survived < 32, "{survived}");
    }
}
