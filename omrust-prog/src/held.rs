//! Records that were accepted and are not known to be safe, each at its position.

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
