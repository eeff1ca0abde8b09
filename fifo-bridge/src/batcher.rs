//! From the spool to batches: reads on, cuts, parks what is no record, and packs the next push.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::counters::{Counters, add};
use delivery::dead_letter::{DeadLetters, Reason};
use delivery::lane::Lane;
use delivery::limits::RECORD_ALONE_BYTES;
use delivery::position::{Epoch, Position};
use delivery::push::{self, Mode, Names};
use delivery::spool::{Read, Reader, Spool, SpoolError};

use crate::frame::{Begin, Framer, Piece};
use crate::settings::Settings;
use crate::splitter::Splitter;

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;
/// Dead letters are mentioned in the log this often, at most: whoever sends without the frame must not fill it.
const SAY: Duration = Duration::from_secs(60);
/// How far the cursor of a lane stays behind records of other lanes, at most. Each move costs a command; without any the spool could
/// not be freed.
const ADVANCE: Duration = Duration::from_millis(200);
/// Bytes of other lanes that are passed before the caller may look around.
const PASS_BYTES: usize = 1 << 20;

/// Why no batch can be made. The stream stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum Hold {
    /// The spool cannot be read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A dead letter cannot be written, or not be looked up.
    #[error("the dead letters {path} cannot be used: {source}")]
    DeadLetter {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Who says where the stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The cursor in Redis: behind a record, or inside of a line that is too long and has been parked so far.
    Cursor,
    /// Redis has more than the spool: what came since the start is new.
    New,
    /// The cursor is of no use: the best place there is.
    Guess,
}

/// What a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Where the stream goes on behind it.
    pub to: Position,
    /// Records in it; 0: the cursor moves alone.
    pub records: usize,
    /// Records that Redis has never confirmed.
    pub fresh: u64,
    /// Records that it had confirmed once.
    pub repeats: u64,
}

/// Records that Redis has refused: the next batch sets them aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Park {
    /// So many of them, at most.
    pub records: usize,
    /// Only if the stream goes on here.
    pub at: Option<Position>,
    /// For the letters.
    pub why: String,
}

/// How a batch is packed.
#[derive(Debug, Clone)]
pub struct Packing {
    /// List and cursor.
    pub names: Names,
    /// A list, or a stream of Redis'.
    pub mode: Mode,
    /// Records in a batch, at most.
    pub records_max: usize,
    /// Bytes of records in a batch, at most.
    pub bytes_max: usize,
}

/// From the spool to batches.
pub struct Batcher {
    reader: Reader,
    framer: Framer,
    letters: DeadLetters,
    counters: Arc<Counters>,
    window: Vec<u8>,
    /// The part of `window` that was read and not yet packed.
    filled: Range<usize>,
    /// Where `filled` begins in the stream.
    at: Position,
    /// The furthest record that was counted as received.
    counted: Position,
    records: Vec<Range<usize>>,
    packing: Packing,
    /// Which lane it works for.
    lane: usize,
    /// What tells its records from those of other lanes, if there are any.
    splitter: Option<Splitter>,
    /// Since when there are only records of other lanes behind the cursor.
    passed: Option<Instant>,
    /// The cursor is to follow at once.
    hurry: bool,
    record_bytes_max: usize,
    /// So many records go alone: one of them is too large for Redis.
    alone: usize,
    /// Stretches of the window that are not what they were when they came.
    damaged: Vec<(Epoch, Range<u64>)>,
    /// When dead letters were last mentioned in the log, and how many came since.
    said: Option<Instant>,
    unsaid: u64,
}

impl Batcher {
    /// A batcher for `lane` that begins at `at`.
    pub fn new(
        spool: &Arc<Spool>,
        letters: DeadLetters,
        counters: Arc<Counters>,
        (settings, lane): (&Settings, usize),
        at: Position,
    ) -> Self {
        let mut batcher = Self {
            reader: Reader::new(Arc::clone(spool), at),
            framer: Framer::new(settings.frame),
            letters,
            counters,
            window: Vec::new(),
            filled: 0..0,
            at,
            counted: at,
            records: Vec::new(),
            packing: packing(settings, lane),
            lane,
            splitter: None,
            passed: None,
            hurry: false,
            record_bytes_max: settings.frame.record_bytes_max,
            alone: 0,
            damaged: Vec::new(),
            said: None,
            unsaid: 0,
        };
        batcher.adopt(settings);
        batcher
    }

    /// New settings, taken over between two lives of the connection. A [`seek`](Self::seek) has to follow.
    pub fn adopt(&mut self, settings: &Settings) {
        self.framer = Framer::new(settings.frame);
        self.packing = packing(settings, self.lane);
        self.splitter = settings.splitter;
        self.record_bytes_max = settings.frame.record_bytes_max;
        // A whole record that is just short enough, and a read behind it.
        let size = self.record_bytes_max + READ_BYTES;
        self.window = vec![0; size];
        self.filled = 0..0;
    }

    /// Goes on at `at`, which `origin` named.
    pub fn seek(&mut self, at: Position, origin: Origin) -> Result<(), Hold> {
        let begin = match (origin, self.byte_before(at)) {
            (Origin::Cursor, Some(byte)) if byte != b'\n' => Begin::TooLong,
            (Origin::Guess, before) if at.offset > 0 && before != Some(b'\n') => Begin::Unknown,
            _ => Begin::Line,
        };
        self.reader.seek(at);
        self.framer.reset(begin);
        self.filled = 0..0;
        self.damaged.clear();
        self.passed = None;
        self.at = at;
        self.letters.resume(at).map_err(|source| self.unusable(source))
    }

    /// How many records lie in `part`, which begins and ends at the beginning of a line. A [`seek`](Self::seek) has to follow.
    pub fn count(&mut self, part: Range<Position>) -> Result<u64, Hold> {
        self.seek(part.start, Origin::Cursor)?;
        self.records.clear();
        let mut count = 0;
        while self.at < part.end {
            let Some((piece, used)) = self.framer.cut(&self.window[self.filled.clone()]) else {
                if self.fill()? {
                    continue;
                }
                break;
            };
            let piece = self.mine(piece, Position { offset: self.at.offset + used as u64, ..self.at });
            self.filled.start += used;
            self.at.offset += used as u64;
            let record = matches!(piece, Some(Piece::Record(_) | Piece::Glued { .. }));
            count += u64::from(record && !self.letters.is_refused(self.at));
        }
        Ok(count)
    }

    /// The byte before `at`, if it is still there.
    fn byte_before(&mut self, at: Position) -> Option<u8> {
        self.reader.seek(Position { epoch: at.epoch, offset: at.offset.checked_sub(1)? });
        let mut byte = [0];
        matches!(self.reader.read(&mut byte), Ok(Read::Bytes(1))).then_some(byte[0])
    }

    /// Nothing before `at` will be counted as received.
    pub fn count_from(&mut self, at: Position) {
        self.counted = self.counted.max(at);
    }

    /// Where reading goes on: the place to wait for.
    pub fn read_to(&self) -> Position {
        self.reader.at()
    }

    /// The next `records` records go alone: Redis has refused one of them and not said which.
    pub fn send_alone(&mut self, records: usize) {
        self.alone = records;
    }

    /// Packs the next batch behind `out`, `None` if nothing whole is there. What `park` names is set aside instead.
    pub fn pack(&mut self, lane: &Lane, park: Option<&Park>, out: &mut Vec<u8>) -> Result<Option<Batch>, Hold> {
        let from = lane.sent_to();
        let park = park.filter(|park| park.at.is_none_or(|at| at == from));
        let mut to_park = park.map_or(0, |park| park.records);
        let most = if self.alone > 0 && park.is_none() { 1 } else { self.packing.records_max };
        let (mut fresh, mut repeats, mut bytes, mut aside, mut passed) = (0, 0, 0, 0, 0);
        self.records.clear();
        while self.records.len() + aside < most && (park.is_none() || to_park > 0) {
            let Some((piece, used)) = self.framer.cut(&self.window[self.filled.clone()]) else {
                if !self.fill()? {
                    break;
                }
                continue;
            };
            let end = Position { epoch: self.at.epoch, offset: self.at.offset + used as u64 };
            let Some(piece) = self.mine(piece, end) else {
                self.filled.start += used;
                self.at = end;
                passed += used;
                if passed >= PASS_BYTES {
                    break;
                }
                continue;
            };
            if let Piece::Record(range) | Piece::Glued { record: range, .. } = &piece
                && !self.records.is_empty()
                && (bytes + range.len() > self.packing.bytes_max || self.goes_alone(bytes, range.len()))
            {
                break;
            }
            let known = self.letters.is_refused(end);
            let record = self.settle(piece, end, park.map(|park| park.why.as_str()))?;
            to_park = to_park.saturating_sub(usize::from(!known && self.letters.is_refused(end)));
            if let Some(record) = record {
                bytes += record.len();
                self.records.push(record);
                if lane.is_repeat(end) { repeats += 1 } else { fresh += 1 }
            } else {
                aside += 1;
            }
            self.filled.start += used;
            self.at = end;
        }
        if self.at == from || (self.records.is_empty() && aside == 0 && !self.is_due()) {
            return Ok(None);
        }
        self.alone = self.alone.saturating_sub(self.records.len());
        self.passed = None;
        self.write(lane.tip(), out);
        Ok(Some(Batch { to: self.at, records: self.records.len(), fresh, repeats }))
    }

    /// True if a record of `next` bytes must not go together with the `bytes` that were packed.
    fn goes_alone(&self, bytes: usize, next: usize) -> bool {
        next > RECORD_ALONE_BYTES || bytes > RECORD_ALONE_BYTES && self.records.len() == 1
    }

    /// What of a piece belongs to this lane: its own records. What is no record belongs to the first lane.
    ///
    /// A damaged line belongs to the lane that its text names now.
    fn mine(&mut self, piece: Piece, end: Position) -> Option<Piece> {
        let Some(splitter) = self.splitter else { return Some(piece) };
        let base = self.filled.start;
        let own =
            |record: &Range<usize>| splitter.lane_of(&self.window[base + record.start..base + record.end]) == self.lane;
        let first = self.lane == 0;
        match piece {
            Piece::Record(record) => own(&record).then_some(Piece::Record(record)),
            Piece::Glued { line, record } => match (first, own(&record)) {
                (true, true) => Some(Piece::Glued { line, record }),
                (true, false) => Some(Piece::Torn(line)),
                // The first lane keeps all of it aside.
                (false, true) => (!self.is_damaged(end)).then_some(Piece::Record(record)),
                (false, false) => None,
            },
            Piece::Torn(_) | Piece::TooLong { .. } => first.then_some(piece),
        }
    }

    /// True if it is time for the cursor to pass what belongs to other lanes.
    fn is_due(&mut self) -> bool {
        self.splitter.is_none() || self.hurry || self.passed.get_or_insert_with(Instant::now).elapsed() >= ADVANCE
    }

    /// True while the cursor waits to pass records of other lanes.
    pub fn has_passed(&self) -> bool {
        self.passed.is_some()
    }

    /// The end is near: from now on the cursor follows at once.
    pub fn hurry(&mut self) {
        self.hurry = true;
    }

    fn write(&self, tip: &[u8], out: &mut Vec<u8>) {
        let to = self.at.to_string();
        let Packing { names, mode, .. } = &self.packing;
        if self.records.is_empty() {
            push::advance(out, names, (tip, &to));
        } else {
            let records = self.records.iter().map(|range| &self.window[range.clone()]);
            push::push(out, names, mode, (tip, &to), records, self.records.len());
        }
    }

    /// Makes more of the stream visible. False if there is nothing more for now, or the window must not move.
    fn fill(&mut self) -> Result<bool, Hold> {
        if self.window.len() - self.filled.end < READ_BYTES.min(self.window.len() / 2) {
            if !self.records.is_empty() {
                // The batch points into the window: it goes as it is.
                return Ok(false);
            }
            self.window.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        if self.filled.is_empty() && self.records.is_empty() {
            self.filled = 0..0;
        }
        match self.reader.read(&mut self.window[self.filled.end..])? {
            Read::Bytes(0) | Read::End => Ok(false),
            Read::Bytes(count) => {
                self.filled.end += count;
                Ok(true)
            }
            Read::Damaged(count) => {
                let from = self.at.offset + self.filled.len() as u64;
                self.damaged.push((self.at.epoch, from..from + count as u64));
                self.filled.end += count;
                Ok(true)
            }
            Read::Break(next) => self.interrupted(next),
        }
    }

    /// The stream breaks off here and goes on at `next`. A line without its end is kept aside.
    fn interrupted(&mut self, next: Position) -> Result<bool, Hold> {
        if !self.records.is_empty() || self.filled.is_empty() {
            // The batch ends before the break; or there is nothing between the last record and the break.
            if self.records.is_empty() {
                self.framer.reset(behind(next));
                self.at = next;
                return Ok(true);
            }
            self.reader.seek(Position { epoch: self.at.epoch, offset: self.at.offset + self.filled.len() as u64 });
            return Ok(false);
        }
        let length = self.filled.len();
        let end = Position { epoch: self.at.epoch, offset: self.at.offset + length as u64 };
        let piece = self.framer.broken_off(length);
        self.framer.reset(behind(next));
        if let Some(piece) = self.mine(piece, end) {
            self.settle(piece, end, None)?;
        }
        self.filled = 0..0;
        self.at = next;
        Ok(true)
    }

    /// Counts a piece and keeps aside what is no record. Returns the record in it, as a range of the window.
    fn settle(&mut self, piece: Piece, end: Position, park: Option<&str>) -> Result<Option<Range<usize>>, Hold> {
        let base = self.filled.start;
        let shift = |range: Range<usize>| range.start + base..range.end + base;
        // What came with this piece; records that go to the dead letters are told apart below.
        let damaged = self.is_damaged(end);
        let (record, came, mut parked, torn) = match piece {
            Piece::Record(range) | Piece::Torn(range) | Piece::Glued { line: range, .. } if damaged => {
                self.letter(Reason::Damaged, "the spool's file was damaged here", shift(range), end)?;
                (None, 1, 1, 0)
            }
            Piece::Record(range) => (Some(shift(range)), 1, 0, 0),
            Piece::Torn(range) => {
                self.letter(Reason::Torn, "the line is not whole, or lacks the frame", shift(range), end)?;
                (None, 1, 1, 1)
            }
            Piece::TooLong { part, last } => {
                let detail = format!("longer than {} bytes, or a part of it", self.record_bytes_max);
                self.letter(Reason::TooLong, &detail, shift(part), end)?;
                (None, u64::from(last), u64::from(last), 0)
            }
            Piece::Glued { line, record } => {
                self.letter(Reason::Torn, "glued to the record that follows it", shift(line), end)?;
                (Some(shift(record)), 2, 1, 1)
            }
        };
        let mut refused_now = false;
        let record = match record {
            Some(range) if park.is_some() || self.letters.is_refused(end) => {
                refused_now = self.letter(Reason::Refused, park.unwrap_or_default(), range, end)?;
                parked += 1;
                None
            }
            other => other,
        };
        if end > self.counted {
            self.counted = end;
            add(&self.counters.received, came);
            add(&self.counters.accepted, came);
            add(&self.counters.spooled, came);
            add(&self.counters.dead_letters, parked);
            add(&self.counters.torn, torn);
        } else if refused_now {
            // It was counted as received when it was packed for the push that Redis refused.
            add(&self.counters.dead_letters, 1);
        }
        Ok(record)
    }

    /// True if the piece from here to `end` touches a damaged stretch. Stretches that lie behind are forgotten.
    fn is_damaged(&mut self, end: Position) -> bool {
        let at = self.at;
        self.damaged.retain(|(epoch, bytes)| *epoch == at.epoch && bytes.end > at.offset);
        self.damaged.iter().any(|(_, bytes)| bytes.start < end.offset)
    }

    /// Parks a piece. False if it had been parked before.
    fn letter(&mut self, reason: Reason, detail: &str, range: Range<usize>, end: Position) -> Result<bool, Hold> {
        let list = self.packing.names.list.as_str();
        let wrote = self.letters.write(reason, list, detail, (end, &self.window[range]), crate::unix_seconds());
        let wrote = wrote.map_err(|source| self.unusable(source))?;
        if wrote {
            let path = self.letters.path().display();
            self.unsaid += 1;
            if self.said.is_none_or(|said| said.elapsed() >= SAY) {
                log::warn!(
                    "{} dead letters since the last such line, the newest ({}) in {path}",
                    self.unsaid,
                    reason.word()
                );
                self.said = Some(Instant::now());
                self.unsaid = 0;
            }
        }
        Ok(wrote)
    }

    fn unusable(&self, source: std::io::Error) -> Hold {
        Hold::DeadLetter { path: self.letters.path().display().to_string(), source }
    }
}

/// What is known of a place behind a gap.
fn behind(next: Position) -> Begin {
    if next.offset == 0 { Begin::Line } else { Begin::Unknown }
}

fn packing(settings: &Settings, lane: usize) -> Packing {
    Packing {
        names: settings.lanes[lane].clone(),
        mode: settings.mode.clone(),
        records_max: settings.file.batch.records_max,
        bytes_max: settings.file.batch.bytes_max.0 as usize,
    }
}
