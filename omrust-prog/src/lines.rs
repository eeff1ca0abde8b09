//! Cutting what was read into lines. A plain value.

/// A line that came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line, without its LF.
    Whole(&'a [u8]),
    /// A part of a line that is longer than allowed; `last` ends it.
    Part {
        /// The bytes.
        bytes: &'a [u8],
        /// LF came behind it.
        last: bool,
    },
}

/// Bytes that were read and not yet given out.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// What lies before was given out.
    from: usize,
    /// What lies before has no LF in it.
    searched: usize,
    to: usize,
    longest: usize,
    /// Parts of a line that is too long were given out.
    cut: bool,
}

impl Lines {
    /// Nothing was read yet. `longest` is what a line may have, without LF; `chunk` what is read at a time.
    pub fn new(longest: usize, chunk: usize) -> Self {
        Self { buffer: vec![0; chunk.max(1)], from: 0, searched: 0, to: 0, longest, cut: false }
    }

    /// Where to read to; never empty. Tell [`filled`](Self::filled) how much it was.
    pub fn space(&mut self) -> &mut [u8] {
        if self.from == self.to {
            (self.from, self.searched, self.to) = (0, 0, 0);
        } else if self.to == self.buffer.len() && self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.searched, self.to) = (self.searched - self.from, self.to - self.from);
            self.from = 0;
        }
        if self.to == self.buffer.len() {
            let more = self.buffer.len().min(8 << 20);
            self.buffer.resize(self.buffer.len() + more, 0);
        }
        &mut self.buffer[self.to..]
    }

    /// So many bytes were read.
    pub fn filled(&mut self, bytes: usize) {
        self.to += bytes;
    }

    /// The next line, if its end was read.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        let from = self.from;
        match memchr::memchr(b'\n', &self.buffer[self.searched..self.to]) {
            Some(at) if self.searched + at - from <= self.longest => {
                let end = self.searched + at;
                (self.from, self.searched) = (end + 1, end + 1);
                let bytes = &self.buffer[from..end];
                if std::mem::take(&mut self.cut) {
                    return Some(Line::Part { bytes, last: true });
                }
                Some(Line::Whole(bytes))
            }
            None if self.to - from <= self.longest => {
                self.searched = self.to;
                None
            }
            _ => {
                self.cut = true;
                (self.from, self.searched) = (from + self.longest, from + self.longest);
                Some(Line::Part { bytes: &self.buffer[from..from + self.longest], last: false })
            }
        }
    }

    /// What was read behind the last LF, and whether it is the end of a line of which parts were given out.
    pub fn rest(&self) -> (&[u8], bool) {
        (&self.buffer[self.from..self.to], self.cut)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(lines: &mut Lines, mut bytes: &[u8], step: usize) -> Vec<(Vec<u8>, bool)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let space = lines.space();
            let n = space.len().min(step).min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            lines.filled(n);
            bytes = &bytes[n..];
            while let Some(line) = lines.next_line() {
                found.push(match line {
                    Line::Whole(bytes) => (bytes.to_vec(), true),
                    Line::Part { bytes, .. } => (bytes.to_vec(), false),
                });
            }
        }
        found
    }

    #[test]
    fn too_long_comes_in_parts_and_nothing_is_cut_off() {
        let mut lines = Lines::new(4, 8);
        let found = feed(&mut lines, b"abcd\nabcdefghij\n\nab", 3);
        let told: Vec<(&[u8], bool)> = found.iter().map(|(bytes, whole)| (&bytes[..], *whole)).collect();
        assert_eq!(told, [(&b"abcd"[..], true), (b"abcd", false), (b"efgh", false), (b"ij", false), (b"", true),]);
        assert_eq!(lines.rest(), (&b"ab"[..], false));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_steps(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..2000), step in 1usize..200) {
            let mut lines = Lines::new(1 << 20, 16);
            let found = feed(&mut lines, &bytes, step);
            let mut expected: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let rest = expected.pop().unwrap_or_default();
            prop_assert!(found.iter().all(|(_, whole)| *whole));
            prop_assert_eq!(found.into_iter().map(|(line, _)| line).collect::<Vec<_>>(), expected);
            prop_assert_eq!(lines.rest().0, &rest[..]);
        }
    }
}
