//! The few things that the journal asks of a disk, in one place, so that a test can make them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Zeros are written this many bytes at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The disk below a journal.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub faults: std::sync::Arc<super::tests::faults::Faults>,
}

#[cfg_attr(not(test), expect(clippy::unused_self, reason = "only a test has something in it"))]
impl Disk {
    /// Writes all of `bytes` at `at`. After an error any part of it may be there.
    pub fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.write(file, bytes, at)?;
        let _ = path;
        file.write_all_at(bytes, at)
    }

    /// Writes zeros over `from..to`.
    pub fn zero(&self, file: &File, path: &Path, mut from: u64, to: u64) -> io::Result<()> {
        while from < to {
            let count = (to - from).min(ZEROS.len() as u64);
            self.write(file, path, &ZEROS[..count as usize], from)?;
            from += count;
        }
        Ok(())
    }

    /// Forces the file's bytes to the disk.
    pub fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        let synced = file.sync_data();
        #[cfg(test)]
        self.faults.synced(file);
        let _ = path;
        synced
    }

    /// Forces the names in a folder to the disk.
    pub fn sync_folder(&self, folder: &File, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        let synced = folder.sync_all();
        #[cfg(test)]
        self.faults.synced_folder(path);
        let _ = path;
        synced
    }
}
