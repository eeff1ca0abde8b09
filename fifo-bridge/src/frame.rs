//! Lines and records: where one ends, and whether it is whole.
//!
//! ompipe writes one record per write(2), ended by LF. Up to 4096 bytes the kernel keeps a write in one piece. A longer one may be cut
//! short when the pipe is full: rsyslog takes the short write for a success, and the next record follows without
//! a LF in between. So a whole record begins behind a LF with `~` and has three `|`; and inside of a line that was glued, the header
//! of the second record can be found again.
//!
//! A plain value: bytes in, pieces out.

use std::ops::Range;

use memchr::memchr;

use crate::settings::effective::FrameSettings;
use crate::settings::file::{Format, Resync};

/// Writes up to this size are atomic on a pipe (PIPE_BUF, pipe(7)): no record that short is ever torn.
const ATOMIC_BYTES: usize = 4096;

/// The longest header that is looked for inside of a line.
const HEADER_BYTES_MAX: usize = 96;

/// One stretch of the stream, without its LF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A whole record.
    Record(Range<usize>),
    /// A line that is no record.
    Torn(Range<usize>),
    /// A line that begins with a record that was cut off and ends with a whole one.
    Glued {
        /// All of it.
        line: Range<usize>,
        /// The whole record at its end.
        record: Range<usize>,
    },
    /// A record that is longer than allowed, or a part of one.
    TooLong {
        /// The bytes.
        part: Range<usize>,
        /// True for the part that ends it.
        last: bool,
    },
}

/// What is known of the place at which a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// A line begins here.
    Line,
    /// It is inside of a line that is too long.
    TooLong,
    /// What was before is missing: the next line may lack its beginning.
    Unknown,
}

/// Cuts a stream into pieces. Knows only what it must remember between two calls.
#[derive(Debug)]
pub struct Framer {
    settings: FrameSettings,
    begin: Begin,
    /// Bytes at the front of the next call that hold no LF.
    scanned: usize,
}

impl Framer {
    /// A framer at the beginning of a line.
    pub fn new(settings: FrameSettings) -> Self {
        Self { settings, begin: Begin::Line, scanned: 0 }
    }

    /// Forgets where it was: the stream goes on elsewhere.
    pub fn reset(&mut self, begin: Begin) {
        self.begin = begin;
        self.scanned = 0;
    }

    /// The first piece of `bytes` and how many bytes it covers, LF included. `None`: more bytes are needed.
    pub fn cut(&mut self, bytes: &[u8]) -> Option<(Piece, usize)> {
        let scanned = std::mem::take(&mut self.scanned);
        let Some(end) = memchr(b'\n', &bytes[scanned..]).map(|at| scanned + at) else {
            if bytes.len() > self.settings.record_bytes_max {
                self.begin = Begin::TooLong;
                return Some((Piece::TooLong { part: 0..bytes.len(), last: false }, bytes.len()));
            }
            self.scanned = bytes.len();
            return None;
        };
        let piece = match std::mem::replace(&mut self.begin, Begin::Line) {
            Begin::TooLong => Piece::TooLong { part: 0..end, last: true },
            _ if end > self.settings.record_bytes_max => Piece::TooLong { part: 0..end, last: true },
            // Any line would do, also half of one.
            Begin::Unknown if self.settings.format == Format::Line => Piece::Torn(0..end),
            Begin::Line | Begin::Unknown => self.judge(&bytes[..end]),
        };
        Some((piece, end + 1))
    }

    /// What is left when the stream breaks off: a line without its end.
    pub fn broken_off(&mut self, length: usize) -> Piece {
        let begin = self.begin;
        self.reset(Begin::Unknown);
        if begin == Begin::TooLong { Piece::TooLong { part: 0..length, last: true } } else { Piece::Torn(0..length) }
    }

    fn judge(&self, line: &[u8]) -> Piece {
        if self.settings.format == Format::Line {
            return Piece::Record(0..line.len());
        }
        let framed = has_frame(line);
        let look = match self.settings.resync {
            Resync::Never => false,
            Resync::Always => true,
            Resync::Long => !framed || line.len() >= ATOMIC_BYTES,
        };
        if look && let Some(at) = last_header(line) {
            return Piece::Glued { line: 0..line.len(), record: at..line.len() };
        }
        if framed { Piece::Record(0..line.len()) } else { Piece::Torn(0..line.len()) }
    }
}

/// `~`, and three `|` somewhere behind it.
fn has_frame(line: &[u8]) -> bool {
    line.first() == Some(&b'~') && third_bar(line).is_some()
}

/// Where the third `|` is. It is near in most lines, and every lane asks for it: three searches would cost more than the lines' ends.
pub fn third_bar(line: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::from_le_bytes([0x7f; 8]);
    const BARS: u64 = u64::from_le_bytes([b'|'; 8]);
    let mut left = 3;
    let mut bar = |at: usize| {
        left -= 1;
        (left == 0).then_some(at)
    };
    let (words, rest) = line.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let other = u64::from_le_bytes(*word) ^ BARS;
        // The highest bit of each byte that is a bar, and no other: no carry leaves a byte.
        let mut bars = !(((other & LOW) + LOW) | other | LOW);
        while bars != 0 {
            if let Some(at) = bar(8 * index + bars.trailing_zeros() as usize / 8) {
                return Some(at);
            }
            bars &= bars - 1;
        }
    }
    let from = line.len() - rest.len();
    rest.iter().enumerate().filter(|(_, byte)| **byte == b'|').find_map(|(at, _)| bar(from + at))
}

/// Where the last header begins that is not the line's own.
fn last_header(line: &[u8]) -> Option<usize> {
    memchr::memrchr_iter(b'~', line).filter(|at| *at > 0).find(|at| is_header(&line[*at..]))
}

/// `~facility|priority|time|`, each of the shape that rsyslog's properties have: stricter than [`has_frame`],
/// because text that merely looks similar must not be torn apart.
fn is_header(bytes: &[u8]) -> bool {
    let window = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
    let mut fields = window[1..].split(|byte| *byte == b'|');
    let (Some(facility), Some(priority), Some(time)) = (fields.next(), fields.next(), fields.next()) else {
        return false;
    };
    // A fourth field, be it empty, proves the third `|`.
    fields.next().is_some() && is_word(facility) && is_word(priority) && is_time(time)
}

/// A number or a name in lower case, `local3` or `16`.
fn is_word(field: &[u8]) -> bool {
    (1..=10).contains(&field.len()) && field.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// `Nov 21 10:00:00` or the beginning of an RFC 3339 time.
fn is_time(field: &[u8]) -> bool {
    let shape: Vec<u8> = field
        .iter()
        .map(|byte| match byte {
            b'0'..=b'9' => b'9',
            b'A'..=b'Z' | b'a'..=b'z' => b'a',
            other => *other,
        })
        .collect();
    match shape.as_slice() {
        b"aaa 99 99:99:99" | b"aaa  9 99:99:99" => true,
        _ => shape.starts_with(b"9999-99-99a99:99:99") && shape.len() <= 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(format: Format, resync: Resync, record_bytes_max: usize) -> FrameSettings {
        FrameSettings { format, resync, record_bytes_max }
    }

    fn bridge() -> FrameSettings {
        settings(Format::Bridge, Resync::Long, 300_000)
    }

    /// Cuts all of `bytes` when they come in chunks of `chunk`.
    fn all(settings: FrameSettings, bytes: &[u8], chunk: usize) -> Vec<(Piece, Vec<u8>)> {
        let mut framer = Framer::new(settings);
        let (mut pieces, mut window, mut fed) = (Vec::new(), Vec::new(), 0);
        loop {
            if let Some((piece, used)) = framer.cut(&window) {
                let range = match &piece {
                    Piece::Record(r)
                    | Piece::Torn(r)
                    | Piece::TooLong { part: r, .. }
                    | Piece::Glued { record: r, .. } => r.clone(),
                };
                pieces.push((piece, window[range].to_vec()));
                window.drain(..used);
            } else if fed < bytes.len() {
                let next = bytes.len().min(fed + chunk);
                window.extend_from_slice(&bytes[fed..next]);
                fed = next;
            } else {
                return pieces;
            }
        }
    }

    fn one(settings: FrameSettings, line: &[u8]) -> Piece {
        let (piece, used) = Framer::new(settings).cut(&[line, b"\n"].concat()).expect("a line");
        assert_eq!(used, line.len() + 1);
        piece
    }

    #[test]
    fn a_record_is_a_line_with_the_frame() {
        let whole = b"~local3|6|Nov 21 10:00:00|hello | ~ world";
        assert_eq!(one(bridge(), whole), Piece::Record(0..whole.len()));
        for torn in [&b""[..], b"x", b"~", b"~a|b|c", b" ~a|b|c|d", b"no template"] {
            assert_eq!(one(bridge(), torn), Piece::Torn(0..torn.len()), "{torn:?}");
        }
    }

    #[test]
    fn every_line_is_a_record_when_asked_for() {
        let line = settings(Format::Line, Resync::Long, 4096);
        for record in [&b""[..], b"x", b"~", &[0, 255, 13]] {
            assert_eq!(one(line, record), Piece::Record(0..record.len()));
        }
    }

    #[test]
    fn half_a_line_is_no_record_although_every_line_is_one() {
        let mut framer = Framer::new(settings(Format::Line, Resync::Never, 100));
        framer.reset(Begin::Unknown);
        let bytes = b"half\nwhole\n";
        assert_eq!(framer.cut(bytes), Some((Piece::Torn(0..4), 5)));
        assert_eq!(framer.cut(&bytes[5..]), Some((Piece::Record(0..5), 6)));
        let mut framer = Framer::new(bridge());
        framer.reset(Begin::Unknown);
        assert_eq!(framer.cut(b"~16|6|Nov 21 10:00:00|whole\n"), Some((Piece::Record(0..27), 28)));
    }

    #[test]
    fn a_glued_line_gives_its_last_record_back() {
        let second = b"~16|6|2026-11-21T10:00:00.123456+01:00|whole";
        let first = [&b"~16|6|Nov  1 10:00:00|"[..], &[b'x'; 5000]].concat();
        let line = [&first[..], second].concat();
        let record = first.len()..line.len();
        assert_eq!(one(bridge(), &line), Piece::Glued { line: 0..line.len(), record });
        // The rest of a record whose beginning is gone.
        let line = [&b"tail of something"[..], second].concat();
        assert_eq!(one(bridge(), &line), Piece::Glued { line: 0..line.len(), record: 17..line.len() });
    }

    #[test]
    fn a_sender_cannot_forge_a_record_through_a_short_line() {
        let line = b"~16|6|Nov 21 10:00:00|text ~16|6|Nov 21 10:00:00|forged";
        assert_eq!(one(bridge(), line), Piece::Record(0..line.len()));
        let always = settings(Format::Bridge, Resync::Always, 4096);
        assert!(matches!(one(always, line), Piece::Glued { .. }));
        let never = settings(Format::Bridge, Resync::Never, 40_960);
        let long = [&line[..], &[b'x'; 5000]].concat();
        assert_eq!(one(never, &long), Piece::Record(0..long.len()));
    }

    #[test]
    fn text_that_only_looks_like_a_header_is_left_alone() {
        let long = [b'x'; 5000];
        for text in ["~a|b|c|", "~16|6|yesterday|", "~LOCAL3|6|Nov 21 10:00:00|", "~16|6|Nov 21 10:00:00", "~~|||"] {
            let line = [&b"~1|2|3|"[..], &long, text.as_bytes()].concat();
            assert_eq!(one(bridge(), &line), Piece::Record(0..line.len()), "{text}");
        }
    }

    #[test]
    fn nothing_of_a_record_that_is_too_long_is_cut_off() {
        let line = settings(Format::Line, Resync::Long, 1000);
        for chunk in [1, 7, 999, 1000, 1001, 5000] {
            let bytes = [&vec![b'a'; 1000][..], b"\n", &vec![b'b'; 1001], b"\n", &vec![b'c'; 4500], b"\nd\n"].concat();
            let pieces = all(line, &bytes, chunk);
            assert_eq!(pieces.first().map(|(p, _)| p.clone()), Some(Piece::Record(0..1000)), "chunk {chunk}");
            assert_eq!(pieces.last().map(|(p, _)| p.clone()), Some(Piece::Record(0..1)), "chunk {chunk}");
            let long: Vec<u8> = pieces[1..pieces.len() - 1].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            assert!(pieces[1..pieces.len() - 1].iter().all(|(p, _)| matches!(p, Piece::TooLong { .. })));
            assert_eq!(long, [vec![b'b'; 1001], vec![b'c'; 4500]].concat(), "chunk {chunk}");
        }
    }

    proptest! {
        #[test]
        fn the_third_bar_is_found_wherever_it_is(
            line in prop::collection::vec(prop::sample::select(vec![b'|', b'|', b'x', 0x7d, 0x7b, 0xfc, 0, 0xff]), 0..60),
        ) {
            let bars = line.iter().enumerate().filter(|(_, byte)| **byte == b'|').map(|(at, _)| at);
            prop_assert_eq!(third_bar(&line), bars.clone().nth(2));
            let sparse: Vec<u8> = line.iter().flat_map(|byte| [b'~', *byte, 0x80, b' ', b'y']).collect();
            prop_assert_eq!(third_bar(&sparse), bars.map(|at| 5 * at + 1).nth(2));
        }

        #[test]
        fn the_pieces_do_not_depend_on_how_the_bytes_arrive(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20), chunk in 1usize..64,
        ) {
            let bytes: Vec<u8> = lines.iter().flat_map(|line| {
                let mut line: Vec<u8> = line.iter().map(|b| if *b == b'\n' { b'~' } else { *b }).collect();
                line.push(b'\n');
                line
            }).collect();
            let settings = settings(Format::Bridge, Resync::Always, 64);
            prop_assert_eq!(all(settings, &bytes, chunk), all(settings, &bytes, bytes.len().max(1)));
            let line = settings_line();
            let joined: Vec<u8> = all(line, &bytes, chunk).into_iter().flat_map(|(_, r)| [r, b"\n".to_vec()].concat()).collect();
            prop_assert_eq!(joined, bytes);
        }
    }

    fn settings_line() -> FrameSettings {
        settings(Format::Line, Resync::Never, 64)
    }
}
