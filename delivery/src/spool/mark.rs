//! The file `acked`: the furthest position that Redis has confirmed, as far as it was noted.
//!
//! It may lag. Nothing depends on it while Redis has the cursor; without the cursor it says where to go on.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::SpoolError;
use crate::position::Position;

/// One line of fixed length, so that one write replaces it whole.
const LINE_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    path: PathBuf,
}

/// Reads the mark in `folder` without touching it.
pub(super) fn read(folder: &Path) -> Option<Position> {
    parse(&std::fs::read(folder.join("acked")).ok()?)
}

impl Mark {
    /// Opens or creates the file in `folder`; a damaged line counts as none.
    pub fn open(folder: &Path) -> Result<(Self, Option<Position>), SpoolError> {
        let path = folder.join("acked");
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(SpoolError::io("cannot keep its mark in", &path))?;
        let mut line = Vec::new();
        file.by_ref()
            .take(LINE_BYTES as u64)
            .read_to_end(&mut line)
            .map_err(SpoolError::io("cannot read its mark in", &path))?;
        let acked = parse(&line);
        if acked.is_none() && !line.is_empty() {
            log::warn!("the spool's mark {} is damaged and ignored; redis has the cursor", path.display());
        }
        Ok((Self { file, path }, acked))
    }

    pub fn write(&self, acked: Position) -> Result<(), SpoolError> {
        self.file.write_all_at(&render(acked), 0).map_err(SpoolError::io("cannot write its mark", &self.path))
    }
}

fn render(acked: Position) -> Vec<u8> {
    let text = acked.to_string();
    let mut line = format!("{text} {:08x}", crc32c::crc32c(text.as_bytes())).into_bytes();
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
        let line = render(acked);
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
    }
}
