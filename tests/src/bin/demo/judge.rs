//! The verdict from the records themselves: what the worker wrote down, held against what was sent and against what the
//! pipe carried.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use e2e::ledger::{Ledger, Verdict};
use e2e::pipe::parse;

use crate::rsyslog::Action;
use crate::sender::{SENDERS, message, name, share};

/// A worker has taken at most so many records that it has not acknowledged.
const IN_HAND: usize = 1_000;

/// Enters records one by one and says in the end what is wrong with them.
#[derive(Debug)]
pub struct Judge {
    book: Book,
    /// Every record that was one of ours, in the order in which it was consumed.
    order: Vec<u64>,
    /// What a killed worker had written down and not acknowledged: each may come once more.
    open: HashSet<u64>,
    repeats: u64,
}

/// A ledger and the numbering of all senders' messages.
#[derive(Clone, Debug)]
struct Book {
    ledger: Ledger,
    senders: HashMap<String, u64>,
}

impl Book {
    fn new(messages: u64) -> Self {
        let senders: HashMap<String, u64> = (0..SENDERS).map(|sender| (name(sender), sender)).collect();
        let ledger = (0..SENDERS)
            .fold(Ledger::new(), |ledger, sender| ledger.sent_numbers(&name(sender), 0..share(messages, sender)));
        Self { ledger, senders }
    }

    /// One number for each message of each sender, `None` for what was never sent like this.
    fn id(&self, record: &[u8]) -> Option<u64> {
        let (sender, n) = parse(record)?;
        let index = self.senders.get(sender)?;
        let mut fields = record.splitn(4, |&byte| byte == b'|');
        let local3_info = fields.next() == Some(b"~19") && fields.next() == Some(b"6");
        let whole = fields.nth(1)?.trim_ascii_start() == message(sender, n).as_bytes();
        (local3_info && whole).then_some(n * SENDERS + index)
    }

    fn enter(&mut self, record: &[u8], id: Option<u64>) {
        // What is garbled must not be taken for the record that it once was.
        self.ledger.found(if id.is_some() { record } else { b"garbled" });
    }
}

impl Judge {
    /// Nothing was consumed yet of so many messages.
    pub fn new(messages: u64) -> Self {
        Self { book: Book::new(messages), order: Vec::new(), open: HashSet::new(), repeats: 0 }
    }

    /// Enters the next record that was consumed.
    pub fn consumed(&mut self, record: &[u8]) {
        let id = self.book.id(record);
        if id.is_some_and(|id| self.open.remove(&id)) {
            self.repeats += 1;
            return;
        }
        self.order.extend(id);
        self.book.enter(record, id);
    }

    /// How many records were consumed, without the repeats that a worker's death made.
    pub fn count(&self) -> u64 {
        self.order.len() as u64
    }

    /// A worker was killed and everything that it wrote down was entered; `unacknowledged` is what it left in Redis.
    pub fn worker_died<R: AsRef<[u8]>>(&mut self, unacknowledged: impl IntoIterator<Item = R>) {
        let last: HashSet<u64> = self.order.iter().rev().take(IN_HAND).copied().collect();
        let ids = unacknowledged.into_iter().filter_map(|record| self.book.id(record.as_ref()));
        self.open = ids.filter(|id| last.contains(id)).collect();
    }

    /// The judgement, with the stream of the pipe as the second witness, and what the two rsyslogds say of themselves.
    pub fn judgement(self, pipe: &Stream, rsyslog: [Action; 2]) -> Judgement {
        let in_pipe = pipe.verdict.clone();
        // Out of order in the pipe already: rsyslog's doing as far as it says so itself. It moves each message that goes back
        // into a queue, and any number when a queue goes to disk.
        let out_of_order_in_pipe = in_pipe.misordered.count;
        let moved = if rsyslog.iter().any(|action| action.spilled > 0) {
            out_of_order_in_pipe
        } else {
            out_of_order_in_pipe.min(rsyslog.iter().map(|action| action.requeued).sum())
        };
        Judgement {
            out_of_order: misplaced(&pipe.order, &self.order) + (out_of_order_in_pipe - moved),
            consumed: self.book.ledger.verdict(),
            repeats: self.repeats,
            in_pipe,
            moved,
        }
    }
}

/// What went through the pipe, as the bridge took it out: its spool, every byte of it retained.
#[derive(Debug)]
pub struct Stream {
    order: Vec<u64>,
    verdict: Verdict,
}

impl Stream {
    /// Reads the segments of a spool whose bridge has ended.
    pub fn read(spool: &Path, messages: u64) -> io::Result<Self> {
        let mut segments = segments(spool)?;
        // Names sort as positions do.
        segments.sort();
        let mut book = Book::new(messages);
        let mut order = Vec::new();
        let mut enter = |line: &[u8]| {
            let id = book.id(line);
            order.extend(id);
            book.enter(line, id);
        };
        let mut line = Vec::new();
        for segment in segments {
            let mut bytes = BufReader::with_capacity(1 << 20, File::open(segment)?);
            // A record may begin in one segment and end in the next.
            while bytes.read_until(b'\n', &mut line)? > 0 {
                if line.last() == Some(&b'\n') {
                    enter(&line[..line.len() - 1]);
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            enter(&line);
        }
        Ok(Self { order, verdict: book.ledger.verdict() })
    }
}

/// Records that come after one which the pipe carried later, and those that the pipe never carried.
fn misplaced(pipe: &[u64], consumed: &[u64]) -> u64 {
    let mut places: HashMap<u64, Option<usize>> = HashMap::with_capacity(pipe.len());
    for (place, &id) in pipe.iter().enumerate() {
        places.entry(id).or_insert(Some(place));
    }
    let (mut highest, mut misplaced) = (0, 0);
    for id in consumed {
        match places.get_mut(id).map(Option::take) {
            Some(Some(place)) if place >= highest => highest = place,
            // The second time: it is doubled, and counted as that.
            Some(None) => {}
            Some(Some(_)) | None => misplaced += 1,
        }
    }
    misplaced
}

fn segments(spool: &Path) -> io::Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(spool)?.map(|entry| entry.map(|entry| entry.path()));
    files.filter(|file| file.as_ref().is_ok_and(|path| path.extension().is_some_and(|name| name == "seg"))).collect()
}

/// What is right and what is wrong.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// What the worker wrote down against what was sent.
    pub consumed: Verdict,
    /// Records handed out again because the worker had died before it acknowledged them.
    pub repeats: u64,
    /// What the pipe carried against what was sent.
    pub in_pipe: Verdict,
    /// Records in another order than that in which rsyslog wrote them.
    pub out_of_order: u64,
    /// Records that rsyslog itself put behind later ones, before the pipe.
    pub moved: u64,
}

impl Judgement {
    /// Nothing lost, doubled, out of order or foreign.
    pub fn is_clean(&self) -> bool {
        let wrong = [&self.consumed.lost, &self.consumed.doubled, &self.consumed.foreign];
        self.out_of_order == 0 && wrong.iter().all(|fault| fault.count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sender: u64, n: u64) -> Vec<u8> {
        format!("~19|6|Nov 21 10:00:00| {}", message(&name(sender), n)).into_bytes()
    }

    /// Two records of each sender.
    fn all() -> Vec<Vec<u8>> {
        (0..2).flat_map(|n| (0..SENDERS).map(move |sender| record(sender, n))).collect()
    }

    fn judge(pipe: &[Vec<u8>], consumed: &[Vec<u8>], requeued: u64, spilled: u64) -> Judgement {
        let spool = tempfile::tempdir().expect("a folder");
        // Cut anywhere into two segments.
        let bytes: Vec<u8> = pipe.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        let (first, second) = bytes.split_at(bytes.len() / 3);
        std::fs::write(spool.path().join("a-1.seg"), first).expect("a file");
        std::fs::write(spool.path().join("a-2.seg"), second).expect("a file");
        std::fs::write(spool.path().join("acked"), "no segment").expect("a file");
        let stream = Stream::read(spool.path(), 8).expect("segments");
        let mut judge = Judge::new(8);
        for record in consumed {
            judge.consumed(record);
        }
        judge.judgement(&stream, [Action { spilled, ..Action::default() }, Action { requeued, ..Action::default() }])
    }

    fn counts(judgement: &Judgement) -> [u64; 4] {
        let consumed = &judgement.consumed;
        [consumed.lost.count, consumed.doubled.count, judgement.out_of_order, consumed.foreign.count]
    }

    #[test]
    fn all_is_well() {
        let judgement = judge(&all(), &all(), 0, 0);
        assert!(judgement.is_clean(), "{judgement:?}");
        assert_eq!((judgement.in_pipe.found, judgement.moved), (8, 0));
    }

    #[test]
    fn each_fault_is_seen() {
        assert_eq!(counts(&judge(&all(), &all()[..7], 0, 0)), [1, 0, 0, 0]);
        assert_eq!(counts(&judge(&all(), &[all(), vec![record(3, 1)]].concat(), 0, 0)), [0, 1, 0, 0]);
        let mut swapped = all();
        swapped.swap(4, 5);
        assert_eq!(counts(&judge(&all(), &swapped, 0, 0)), [0, 0, 1, 0]);
        let mut garbled = all();
        garbled[0].push(b'!');
        assert_eq!(counts(&judge(&all(), &garbled, 0, 0)), [1, 0, 0, 1]);
    }

    #[test]
    fn what_rsyslog_moved_is_told_apart_as_long_as_it_says_so() {
        let mut moved = all();
        let first = moved.remove(0);
        moved.push(first);
        let judgement = judge(&moved, &moved, 1, 0);
        assert_eq!((counts(&judgement), judgement.moved), ([0; 4], 1));
        assert!(judgement.is_clean());
        assert_eq!(counts(&judge(&moved, &moved, 0, 0)), [0, 0, 1, 0]);
        assert_eq!(counts(&judge(&moved, &moved, 0, 9)), [0; 4]);
        let other_than_the_pipe = judge(&moved, &all(), 1, 9);
        assert!(other_than_the_pipe.out_of_order > 0 && !other_than_the_pipe.is_clean());
    }

    #[test]
    fn a_dead_workers_repeats_are_counted_apart_and_only_once() {
        let mut judge = Judge::new(8);
        for record in &all()[..6] {
            judge.consumed(record);
        }
        judge.worker_died(&all()[4..7]);
        for record in &all()[4..] {
            judge.consumed(record);
        }
        let clean = judge.book.ledger.verdict();
        assert!(clean.is_clean(), "{clean}");
        assert_eq!((judge.repeats, judge.count()), (2, 8));
        judge.consumed(&all()[4]);
        assert_eq!(judge.book.ledger.verdict().doubled.count, 1);
    }
}
