//! Which of several programs this one is: the folder `instance-N` that it has locked.
//!
//! rsyslog starts a program for each of its workers and starts it again when it ended. The one that comes takes the lowest number
//! that nobody holds: the cursor in Redis, the spool and the intake of that number are then its own. A lock ends with its process, however
//! that ends.

use std::collections::{HashSet, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// More programs than this have no sense.
const INSTANCES_MAX: u16 = 4096;

/// A number and the folder that goes with it, locked as long as the value lives.
#[derive(Debug)]
pub struct Instance {
    /// The number.
    pub number: u16,
    folder: PathBuf,
    _lock: File,
}

impl Instance {
    /// Takes the lowest number that is free in `root`.
    pub fn take(root: &Path) -> io::Result<Self> {
        make_folder(root)?;
        for number in 0..INSTANCES_MAX {
            if let Some(instance) = Self::take_number(root, number)? {
                return Ok(instance);
            }
        }
        Err(io::Error::other("all numbers are taken"))
    }

    /// Takes this number if it is free.
    pub fn take_number(root: &Path, number: u16) -> io::Result<Option<Self>> {
        let folder = root.join(format!("instance-{number}"));
        make_folder(&folder)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { number, folder, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The numbers that have a folder in `root`, in order.
    pub fn known(root: &Path) -> Vec<u16> {
        let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
        let number = |name: &std::ffi::OsStr| name.to_str()?.strip_prefix("instance-")?.parse().ok();
        let mut known: Vec<u16> = entries.flatten().filter_map(|entry| number(&entry.file_name())).collect();
        known.sort_unstable();
        known
    }

    /// The file of what was accepted.
    pub fn intake(&self) -> PathBuf {
        self.folder.join("intake")
    }

    /// The folder of the spool.
    pub fn spool(&self) -> PathBuf {
        self.folder.join("spool")
    }

    /// True if there may be something in its spool.
    pub fn has_spool(&self) -> bool {
        std::fs::read_dir(self.spool()).is_ok_and(|mut entries| entries.next().is_some())
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The numbers that were free at the last look, so that only what stays free is taken over.
#[derive(Debug, Default)]
pub struct Orphans {
    seen: VecDeque<u16>,
}

impl Orphans {
    /// True if this number was free at the last look.
    pub fn is_free(&self, number: u16) -> bool {
        self.seen.contains(&number)
    }

    /// Looks who in `root` is free. Gives out one that was free at the last look already and is none of `passed`.
    pub fn look(&mut self, root: &Path, own: u16, passed: &HashSet<u16>) -> Option<Instance> {
        let mut free = Instance::known(root)
            .into_iter()
            .filter(|number| *number != own)
            .filter_map(|number| Instance::take_number(root, number).ok().flatten());
        let mut seen = VecDeque::new();
        let mut found = None;
        for instance in free.by_ref() {
            seen.push_back(instance.number);
            if found.is_none() && self.seen.contains(&instance.number) && !passed.contains(&instance.number) {
                found = Some(instance);
            }
        }
        self.seen = seen;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_and_no_two_have_the_same() {
        let root = tempfile::tempdir().expect("folder");
        let path = root.path().join("state");
        let take = || Instance::take(&path).expect("a number");
        let (first, second, third) = (take(), take(), take());
        assert_eq!([first.number, second.number, third.number], [0, 1, 2]);
        drop(second);
        assert_eq!(take().number, 1);
        assert!(Instance::take_number(&path, 0).expect("look").is_none());
        assert_eq!(Instance::known(&path), [0, 1, 2]);
    }

    #[test]
    fn an_orphan_is_one_that_stays_free() {
        let root = tempfile::tempdir().expect("folder");
        let own = Instance::take(root.path()).expect("a number");
        let other = Instance::take(root.path()).expect("a number");
        let mut orphans = Orphans::default();
        assert!(orphans.look(root.path(), own.number, &HashSet::new()).is_none());
        drop(other);
        assert!(orphans.look(root.path(), own.number, &HashSet::new()).is_none());
        let orphan = orphans.look(root.path(), own.number, &HashSet::new()).expect("it stays free");
        assert_eq!(orphan.number, 1);
        assert_eq!(Instance::take(root.path()).expect("a number").number, 2);
    }
}
