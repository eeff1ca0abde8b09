//! Records that were accepted and are not known to be safe, each at its position.

use delivery::outlet::{Batch, Target};
use delivery::position::Position;

/// Records that follow each other in one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The list.
    pub list: String,
    /// The position before the first record.
    pub at: Position,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Section {
    /// No records yet.
    pub fn new(list: &str, at: Position) -> Self {
        Self { list: list.to_owned(), at, bytes: Vec::new(), ends: Vec::new() }
    }

    /// One more.
    pub fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Record `index`.
    pub fn record(&self, index: usize) -> &[u8] {
        let begin = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[begin..self.ends[index]]
    }

    /// All records from `index` on.
    pub fn records(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        (index..self.len()).map(|index| self.record(index))
    }

    /// Begins anew at `at`, in the same list, with the memory that it has, unless that is very much.
    pub fn restart(&mut self, at: Position) {
        self.at = at;
        self.ends.clear();
        self.bytes.clear();
        if self.bytes.capacity() > 64 << 20 {
            self.bytes = Vec::new();
        }
    }
}

/// A section as the outlet takes it.
pub(crate) struct Records<'a> {
    pub section: &'a Section,
    /// Its list is the one of the settings.
    pub main: bool,
}

impl Batch for Records<'_> {
    fn len(&self) -> usize {
        self.section.len()
    }

    fn target(&self, _index: usize) -> Target<'_> {
        if self.main { Target::Main } else { Target::List(&self.section.list) }
    }

    fn record(&self, index: usize) -> &[u8] {
        self.section.record(index)
    }
}
