//! `fifo-bridge spool`: what a person does with the spool of a door that does not run.

mod export;
mod look;
mod replay;

use std::os::linux::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use delivery::journal::{self, JournalError};
use delivery::spool::{self, SpoolError};

pub use export::{ExportError, Form, export};
pub use look::{Report, status, verify};
pub use replay::replay;

/// A spool that is looked at. Its folder is locked.
#[derive(Debug)]
pub enum Store {
    /// The bytes of a pipe.
    Stream(spool::inspect::Inspection),
    /// Batches of a door that is handed records.
    Journal(journal::inspect::Inspection),
}

impl Store {
    /// Opens whatever spool is in `directory`.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let is_stream = spool::inspect::Inspection::is_here(directory).map_err(|error| told(&error))?;
        let is_journal = journal::inspect::Inspection::is_here(directory)?;
        match (is_stream, is_journal) {
            (true, false) => match spool::inspect::Inspection::open(directory) {
                Err(SpoolError::InUse { .. }) => bail!(in_use(directory)),
                opened => Ok(Self::Stream(opened.map_err(|error| told(&error))?)),
            },
            (false, true) => match journal::inspect::Inspection::open(directory) {
                Err(JournalError::InUse { .. }) => bail!(in_use(directory)),
                opened => Ok(Self::Journal(opened?)),
            },
            (true, true) => bail!("{} holds files of two kinds of spool: move one of them away", directory.display()),
            (false, false) => bail!("{} holds no spool", directory.display()),
        }
    }

    /// The word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Journal(_) => "journal",
        }
    }
}

fn told(error: &SpoolError) -> anyhow::Error {
    anyhow::anyhow!("{}", crate::chain(error))
}

fn in_use(directory: &Path) -> String {
    let who = holder(directory).map_or_else(|| "another process".to_owned(), |who| format!("{who}: stop it first"));
    format!("the spool {} is in use by {who}", directory.display())
}

/// Who has locked `directory`, as far as the kernel tells us.
fn holder(directory: &Path) -> Option<String> {
    let meta = std::fs::metadata(directory).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = lock_holder(&locks, meta.st_dev(), meta.st_ino())?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} (process {pid})", name.trim_end()))
}

/// The process that a line of /proc/locks names for a file: `1: FLOCK  ADVISORY  WRITE 708 00:1b:3294 0 EOF`.
fn lock_holder(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let wanted = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = words.contains(&"FLOCK") && words.contains(&wanted.as_str()) && !words.contains(&"->");
        words.get(4).filter(|_| is_it)?.parse().ok()
    })
}

/// How many dead letters are parked in the folder of the spool.
fn dead_letters(directory: &Path) -> anyhow::Result<u64> {
    let path = directory.join("dead-letters.jsonl");
    if !path.exists() {
        return Ok(0);
    }
    let file = std::fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = 0;
    let mut reader = std::io::BufReader::new(file);
    let mut line = Vec::new();
    while std::io::BufRead::read_until(&mut reader, b'\n', &mut line)? > 0 {
        lines += u64::from(line.ends_with(b"\n"));
        line.clear();
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found() {
        let locks = "1: POSIX  ADVISORY  READ 5 fe:00:42 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 708 fe:00:42 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 709 fe:00:42 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 710 fe:00:43 0 EOF\n";
        let device = nix::sys::stat::makedev(0xfe, 0);
        assert_eq!(lock_holder(locks, device, 42), Some(708));
        assert_eq!(lock_holder(locks, device, 43), Some(710));
        assert_eq!(lock_holder(locks, device, 44), None);
    }
}
