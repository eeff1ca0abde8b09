//! A disk that fails when it is told to, and one that knows what a power loss would leave.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Mutex;

use super::super::locked;

/// What the disk does next.
#[derive(Debug, Default)]
pub struct Plan {
    /// So many writes succeed; then one fails after having written so many bytes.
    pub write: Option<(usize, usize, io::ErrorKind)>,
    /// So many more fail after it, without having written anything.
    pub more: usize,
    /// So many syncs succeed; then so many fail.
    pub sync: Option<(usize, usize, io::ErrorKind)>,
    /// The next sync does not return.
    pub panic: bool,
}

/// What is on the disk for good: names, and the bytes of files by their inode.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    names: HashMap<String, u64>,
    bytes: HashMap<u64, Vec<u8>>,
}

/// What a test wants of the disk.
#[derive(Debug, Default)]
pub struct Faults {
    pub plan: Mutex<Plan>,
    /// Kept if a test wants to cut the power.
    pub durable: Mutex<Option<Durable>>,
}

fn turn(plan: &mut Option<(usize, usize, io::ErrorKind)>) -> Option<(usize, io::ErrorKind)> {
    match plan {
        Some((0, argument, kind)) => Some((*argument, *kind)),
        Some((left, ..)) => {
            *left -= 1;
            None
        }
        None => None,
    }
}

impl Faults {
    pub fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut plan = locked(&self.plan);
        let Some((part, kind)) = turn(&mut plan.write) else { return Ok(()) };
        plan.write = (plan.more > 0).then_some((0, 0, kind));
        plan.more = plan.more.saturating_sub(1);
        file.write_all_at(&bytes[..bytes.len().min(part)], at)?;
        Err(kind.into())
    }

    pub fn sync(&self) -> io::Result<()> {
        let mut plan = locked(&self.plan);
        assert!(!std::mem::take(&mut plan.panic), "as the test wants it");
        let Some((times, kind)) = turn(&mut plan.sync) else { return Ok(()) };
        plan.sync = (times > 1).then_some((0, times - 1, kind));
        Err(kind.into())
    }

    pub fn synced(&self, file: &File) {
        if let Some(durable) = &mut *locked(&self.durable) {
            let meta = file.metadata().expect("a file");
            let mut bytes = vec![0; meta.len() as usize];
            file.read_exact_at(&mut bytes, 0).expect("a file");
            durable.bytes.insert(meta.ino(), bytes);
        }
    }

    pub fn synced_folder(&self, path: &Path) {
        if let Some(durable) = &mut *locked(&self.durable) {
            durable.names = names(path);
        }
    }
}

fn names(folder: &Path) -> HashMap<String, u64> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.file_type().expect("a type").is_file());
    files
        .map(|entry| (entry.file_name().into_string().expect("text"), entry.metadata().expect("a file").ino()))
        .collect()
}

impl Durable {
    /// `from` as a killed process leaves it, in another folder. What is on disk there is what is on disk here.
    pub fn copy(&self, from: &Path, to: &Path) -> Self {
        let mut copied = HashMap::new();
        for (name, inode) in names(from) {
            fs::copy(from.join(&name), to.join(&name)).expect("copy");
            copied.insert(inode, fs::metadata(to.join(&name)).expect("a file").ino());
        }
        let moved = |inode: &u64| copied.get(inode).copied().unwrap_or(u64::MAX - inode);
        Self {
            names: self.names.iter().map(|(name, inode)| (name.clone(), moved(inode))).collect(),
            bytes: self.bytes.iter().map(|(inode, bytes)| (moved(inode), bytes.clone())).collect(),
        }
    }

    /// `from` as a power loss may leave it, in another folder: of what was not forced to disk, each sector is there or not.
    pub fn cut_power(&self, from: &Path, to: &Path, chance: &mut impl FnMut() -> bool) -> Self {
        const SECTOR: usize = 512;
        let now: HashMap<u64, Vec<u8>> =
            names(from).into_iter().map(|(name, inode)| (inode, fs::read(from.join(name)).expect("a file"))).collect();
        let left = if chance() { names(from) } else { self.names.clone() };
        for (name, inode) in left {
            let mut bytes = self.bytes.get(&inode).cloned().unwrap_or_default();
            if let Some(now) = now.get(&inode) {
                if chance() {
                    bytes.resize(now.len().max(bytes.len()), 0);
                }
                for (sector, bytes) in bytes.chunks_mut(SECTOR).enumerate() {
                    let from = (sector * SECTOR).min(now.len());
                    let new = &now[from..now.len().min(from + bytes.len())];
                    if bytes != new && chance() {
                        bytes[..new.len()].copy_from_slice(new);
                    }
                }
            }
            fs::write(to.join(name), bytes).expect("write");
        }
        let names = names(to);
        let bytes = names.iter().map(|(name, inode)| (*inode, fs::read(to.join(name)).expect("a file"))).collect();
        Self { names, bytes }
    }
}
