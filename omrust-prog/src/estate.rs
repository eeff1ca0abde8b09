//! What programs that were killed have left for whoever is handed their records again: files in the folder `recall`.
//!
//! With several workers the program that rsyslog starts in place of a killed one may get another number than that had. So each
//! unfinished transaction is published, and whoever is handed its first record claims it by renaming the file, which only one can.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::recall::{Mark, Unfinished};

/// Nobody hands in again what is older.
const OLD: Duration = Duration::from_secs(24 * 3600);

/// The folder, as one instance sees it.
#[derive(Debug)]
pub struct Estate {
    folder: PathBuf,
    number: u16,
    /// What may be claimed.
    open: Vec<(PathBuf, Unfinished)>,
    /// What was claimed and is not finished.
    claimed: Vec<PathBuf>,
}

impl Estate {
    /// Opens the folder in `root`. What this number had claimed in an earlier life can be claimed again.
    pub fn open(root: &Path, number: u16) -> Self {
        let folder = root.join("recall");
        let own = format!(".{number}");
        for path in files(&folder) {
            let old = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
            if old.and_then(|time| SystemTime::now().duration_since(time).ok()).is_some_and(|age| age > OLD) {
                let _ = fs::remove_file(&path);
            } else if path.extension().is_some_and(|end| end.to_str() == Some(&own[1..])) {
                let _ = fs::rename(&path, path.with_extension(""));
            }
        }
        Self { folder, number, open: Vec::new(), claimed: Vec::new() }
    }

    /// Leaves `unfinished`, which is transaction `generation` of this number, for whoever is handed it. Once is enough.
    pub fn publish(&mut self, generation: u32, unfinished: &Unfinished) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let name = format!("{}-{generation}-{}", self.number, unfinished.marks.len());
        let claimed = format!("{name}.");
        let is_there = |path: PathBuf| {
            let known = path.file_name().and_then(|known| known.to_str()).unwrap_or_default();
            known == name || known.starts_with(&claimed)
        };
        if files(&self.folder).any(is_there) {
            return Ok(());
        }
        write(&self.folder.join(name), unfinished)
    }

    /// Reads what may be claimed.
    pub fn refresh(&mut self) {
        let unclaimed = files(&self.folder).filter(|path| path.extension().is_none());
        self.open = unclaimed.filter_map(|path| Some((path.clone(), decode(&fs::read(&path).ok()?)?))).collect();
        // Those that end later come first: a longer one may have been published before it was continued.
        self.open.sort_by_key(|(_, unfinished)| std::cmp::Reverse(unfinished.marks.len()));
    }

    /// The first record of a transaction is `first`: claims what it belongs to.
    pub fn claim(&mut self, first: Mark) -> Option<Vec<Mark>> {
        let at = self.open.iter().position(|(_, unfinished)| unfinished.resolve(first).is_some())?;
        let (path, unfinished) = self.open.swap_remove(at);
        let claimed = path.with_extension(self.number.to_string());
        fs::rename(&path, &claimed).ok()?;
        let marks = unfinished.resolve(first)?.to_vec();
        // A later life of ours is handed the rest of them, which need not begin at the front.
        let rest = Unfinished { marks, answered: 0, settling: true };
        if let Err(error) = write(&claimed, &rest) {
            log::warn!("{} cannot be written: {error}", claimed.display());
        }
        self.claimed.push(claimed);
        Some(rest.marks)
    }

    /// True if something may be claimed.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Nothing more is claimed.
    pub fn close(&mut self) {
        self.open.clear();
    }

    /// What was claimed is no longer needed.
    pub fn finish(&mut self) {
        for path in self.claimed.drain(..) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, unfinished: &Unfinished) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&encode(unfinished))?;
    fs::rename(fresh, path)
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn encode(unfinished: &Unfinished) -> Vec<u8> {
    let head = [unfinished.answered as u64, u64::from(unfinished.settling)];
    let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(unfinished.marks.iter().flat_map(|mark| mark.to_le_bytes()));
    bytes
}

fn decode(bytes: &[u8]) -> Option<Unfinished> {
    let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let (answered, settling) = (number(0)?, number(8)?);
    let marks = bytes[16..].chunks_exact(16).filter_map(|mark| Some(Mark::from_le_bytes(mark.try_into().ok()?)));
    Some(Unfinished { marks: marks.collect(), answered: answered as usize, settling: settling == 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfinished(marks: &[Mark], answered: usize, settling: bool) -> Unfinished {
        Unfinished { marks: marks.to_vec(), answered, settling }
    }

    #[test]
    fn one_claims_it_and_a_later_life_of_it_again() {
        let root = tempfile::tempdir().expect("folder");
        let (mut one, mut two) = (Estate::open(root.path(), 0), Estate::open(root.path(), 1));
        one.publish(1, &unfinished(&[1, 2, 3], 2, false)).expect("publish");
        two.publish(1, &unfinished(&[7, 8], 0, true)).expect("publish");
        one.refresh();
        two.refresh();
        assert_eq!(one.claim(9), None);
        assert_eq!(two.claim(3), Some(vec![3]));
        assert_eq!(one.claim(3), None, "somebody else has it");
        assert_eq!(one.claim(8), Some(vec![7, 8]));
        let mut again = Estate::open(root.path(), 1);
        again.refresh();
        assert_eq!(again.claim(3), Some(vec![3]), "it belongs to the middle of a transaction that was claimed whole");
        again.finish();
        one.finish();
        assert_eq!(files(&root.path().join("recall")).count(), 0);
    }
}
