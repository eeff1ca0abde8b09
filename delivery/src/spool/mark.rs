//! The file `acked`: the furthest positions that Redis has confirmed, as far as they were noted.
//!
//! It may lag. Nothing depends on it while Redis has the cursors; without a cursor it says where to go on.
//!
//! One lane has one line. Several have a line each, behind the one that says what all of them have.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{SpoolError, least};
use crate::position::{Epoch, Position};

/// A line of fixed length, so that one write replaces it whole.
const LINE_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    path: PathBuf,
    /// What was in the file when it was opened.
    found: Vec<Option<Position>>,
}

/// Reads the mark in `folder` without touching it: its lines.
pub(super) fn read(folder: &Path) -> Vec<Option<Position>> {
    lines(&std::fs::read(folder.join("acked")).unwrap_or_default())
}

impl Mark {
    /// Opens or creates the file in `folder`; a damaged line counts as none. Returns the position of each of so many lanes, too.
    pub fn open(folder: &Path, count: usize) -> Result<(Self, Vec<Option<Position>>), SpoolError> {
        let path = folder.join("acked");
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(SpoolError::io("cannot keep its mark in", &path))?;
        let mut bytes = Vec::new();
        file.by_ref()
            .take((LINE_BYTES * (count.max(LANES_LOOKED_AT) + 1)) as u64)
            .read_to_end(&mut bytes)
            .map_err(SpoolError::io("cannot read its mark in", &path))?;
        let found = lines(&bytes);
        let empty = |line: &[u8]| line.trim_ascii().is_empty();
        if bytes.chunks(LINE_BYTES).zip(&found).any(|(line, found)| found.is_none() && !empty(line)) {
            log::warn!("the spool's mark {} is damaged and ignored; redis has the cursor", path.display());
        }
        let first = usize::from(count > 1);
        let acked = (first..first + count).map(|line| found.get(line).copied().flatten()).collect();
        Ok((Self { file, path, found }, acked))
    }

    /// What all lanes of then had.
    pub fn least(&self) -> Option<Position> {
        self.found.first().copied().flatten()
    }

    /// The latest epoch that it names.
    pub fn latest_epoch(&self) -> Option<Epoch> {
        self.found.iter().flatten().map(|acked| acked.epoch).max()
    }

    pub fn write(&self, acked: &[Option<Position>]) -> Result<(), SpoolError> {
        let all = least(acked.iter().copied());
        let each = if acked.len() > 1 { acked } else { &[] };
        let bytes: Vec<u8> = std::iter::once(&all).chain(each).flat_map(|acked| render(*acked)).collect();
        self.file.write_all_at(&bytes, 0).map_err(SpoolError::io("cannot write its mark", &self.path))
    }
}

/// So many lines are read at least: an earlier life may have had more lanes.
const LANES_LOOKED_AT: usize = 1024;

fn lines(bytes: &[u8]) -> Vec<Option<Position>> {
    bytes.chunks(LINE_BYTES).map(parse).collect()
}

/// Blank if there is none.
fn render(acked: Option<Position>) -> Vec<u8> {
    let mut line = Vec::new();
    if let Some(acked) = acked {
        let text = acked.to_string();
        line = format!("{text} {:08x}", crc32c::crc32c(text.as_bytes())).into_bytes();
    }
    line.resize(LINE_BYTES - 1, b' ');
    line.push(b'\n');
    line
}

fn parse(line: &[u8]) -> Option<Position> {
    let text = std::str::from_utf8(line.trim_ascii_end()).ok()?;
    let (position, sum) = text.split_once(' ')?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32c::crc32c(position.as_bytes())).then(|| Position::parse(position.as_bytes()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    #[test]
    fn the_checksum_is_the_one_that_its_name_says() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_mark_survives_and_every_flipped_bit_is_seen() {
        let acked = Position { epoch: Epoch(u64::MAX), offset: u64::MAX };
        let line = render(Some(acked));
        assert_eq!(line.len(), LINE_BYTES);
        assert_eq!(parse(&line), Some(acked));
        let used = line.trim_ascii_end().len();
        for bit in 0..used * 8 {
            let mut bad = line.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Upper and lower case of a hexadecimal digit are the same number.
            assert!(parse(&bad).is_none_or(|found| found == acked), "bit {bit}");
        }
        for cut in 0..used {
            assert_eq!(parse(&line[..cut]), None);
        }
        assert_eq!(parse(&render(None)), None);
    }
}
