//! The file `lanes`: by what the stream is split, and since when.
//!
//! Lanes follow the stream side by side, each with a cursor of its own, and a record belongs to the lane that the rule names. Bytes that
//! were split by one rule must not be split by another before all lanes have them: what lies between two cursors would be lost or doubled.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::{Segment, SpoolError, folder, mark};
use crate::position::{Epoch, Position};

/// Its name.
const NAME: &str = "lanes";

/// Who follows the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// How many, at least 1.
    pub count: usize,
    /// Everything that decides which lane a record belongs to. Empty for one lane. No control characters.
    pub rule: String,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { count: 1, rule: String::new() }
    }
}

impl fmt::Display for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str("one lane"),
            count => write!(f, "{count} lanes by {}", self.rule),
        }
    }
}

/// What was noted in the folder.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// One lane if nothing was.
    pub lanes: Lanes,
    /// The first epoch that is split so. All lanes have what is older.
    pub epoch: Epoch,
}

impl Noted {
    /// Reads the note in `directory`.
    pub fn read(directory: &Path) -> Result<Self, SpoolError> {
        let path = directory.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => parse(&text).ok_or(SpoolError::NoLanes { path }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(SpoolError::io("cannot read its note", &path)(error)),
        }
    }

    /// Notes that the stream is split by `lanes` from `epoch` on. A kill leaves the note of before, or this one.
    pub fn write(directory: &Path, lanes: &Lanes, epoch: Epoch) -> Result<(), SpoolError> {
        let (path, fresh) = (directory.join(NAME), directory.join("lanes.new"));
        let failed = SpoolError::io("cannot keep its note", &path);
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(render(lanes, epoch).as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(directory)?.sync_all()
        });
        written.map_err(failed)
    }

    /// True if the stream is to be split by `wanted` and was by something else. Refuses if bytes of before still wait.
    pub fn is_another(
        &self,
        wanted: &Lanes,
        segments: &VecDeque<Segment>,
        mark: &mark::Mark,
        directory: &Path,
    ) -> Result<bool, SpoolError> {
        if self.lanes == *wanted {
            return Ok(false);
        }
        let acked = mark.least().filter(|acked| acked.epoch >= self.epoch);
        let bytes = segments.iter().map(|segment| segment.bytes_after(acked)).sum();
        if bytes == 0 {
            return Ok(true);
        }
        Err(SpoolError::OtherLanes {
            path: directory.to_owned(),
            bytes,
            was: self.lanes.clone(),
            wanted: wanted.clone(),
        })
    }

    /// Takes away what lies before the note: all lanes of then have it, and those of now would split it otherwise.
    pub fn cut_off(&self, directory: &Path, segments: &mut VecDeque<Segment>, acked: &mut [Option<Position>]) {
        segments.retain(|segment| {
            let old = segment.epoch < self.epoch;
            if old && let Err(error) = folder::remove(directory, segment.epoch, segment.start) {
                // It is met again at the next start.
                log::warn!("{error}");
            }
            !old
        });
        for acked in acked {
            acked.take_if(|acked| acked.epoch < self.epoch);
        }
    }
}

/// `4 0123456789abcdef RULE`, a blank, and the CRC-32C of that.
fn render(lanes: &Lanes, epoch: Epoch) -> String {
    let text = format!("{} {epoch} {}", lanes.count, lanes.rule);
    format!("{text} {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

fn parse(text: &str) -> Option<Noted> {
    let (text, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(text.as_bytes()) {
        return None;
    }
    let mut words = text.splitn(3, ' ');
    let (count, epoch, rule) = (words.next()?, words.next()?, words.next()?);
    let count = count.parse().ok().filter(|count| *count > 0)?;
    let epoch = Epoch(u64::from_str_radix(epoch, 16).ok()?);
    Some(Noted { lanes: Lanes { count, rule: rule.to_owned() }, epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_and_half_of_one_is_none() {
        for lanes in [Lanes::default(), Lanes { count: 4, rule: "word:1 bridge long".into() }] {
            let text = render(&lanes, Epoch(0xabc));
            let noted = parse(&text).expect("whole");
            assert_eq!((noted.lanes, noted.epoch), (lanes, Epoch(0xabc)));
            for cut in 0..text.len() {
                assert!(parse(&text[..cut]).is_none(), "{cut}");
            }
        }
    }
}
