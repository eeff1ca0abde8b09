//! A disk that fails when it is told to.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use super::super::locked;

/// What the disk does next.
#[derive(Debug, Default)]
pub struct Plan {
    /// So many writes succeed; then one fails after having written so many bytes.
    pub write: Option<(usize, usize, io::ErrorKind)>,
    /// So many syncs succeed; then so many fail.
    pub sync: Option<(usize, usize, io::ErrorKind)>,
}

/// The plan of a disk.
#[derive(Debug, Default)]
pub struct Faults {
    pub plan: Mutex<Plan>,
}

impl Faults {
    pub fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let mut plan = locked(&self.plan);
        match &mut plan.write {
            Some((0, part, kind)) => {
                file.write_all_at(&bytes[..bytes.len().min(*part)], at)?;
                let kind = *kind;
                plan.write = None;
                Err(kind.into())
            }
            Some((left, ..)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub fn sync(&self, _path: &Path) -> io::Result<()> {
        let mut plan = locked(&self.plan);
        match &mut plan.sync {
            Some((0, times, kind)) => {
                let kind = *kind;
                *times -= 1;
                if *times == 0 {
                    plan.sync = None;
                }
                Err(kind.into())
            }
            Some((left, ..)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
