//! Frames that are being brought into Redis together.

use super::core::Core;
use super::plan::{Bounds, Plan};
use super::{Batch, Target};
use crate::journal::Lsn;
use crate::position::Position;

/// A window takes in frames until it has so many bytes
const BYTES: usize = 1 << 20;
/// or records.
pub(super) const RECORDS: usize = 16_384;

/// Frames that are being brought into Redis.
#[derive(Default)]
pub(super) struct Window {
    pub bytes: Vec<u8>,
    /// Where each record begins and ends in `bytes`.
    pub records: Vec<(usize, usize)>,
    /// The first of its frames.
    pub first: Option<Lsn>,
    /// The last of its frames.
    pub last: Option<Lsn>,
}

impl Window {
    /// Another one begins.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(4 * BYTES);
        self.records.clear();
        (self.first, self.last) = (None, None);
    }

    /// True if nothing more is taken in; `records` is how many there may be.
    pub fn is_full(&self, records: usize) -> bool {
        self.bytes.len() >= BYTES || self.records.len() >= records
    }

    /// Cuts what was added of it to `plan`.
    pub fn cut(&self, plan: &mut Plan, core: &Core) {
        let bounds = Bounds { records: core.config.chunk_records, bytes: core.config.chunk_bytes };
        plan.cut(bounds, |_| Position::start(core.epoch()), |index| self.record(index).len());
    }

    /// A record of its own, not out of a frame.
    pub fn push(&mut self, record: &[u8]) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.records.push((from, self.bytes.len()));
    }
}

impl Batch for Window {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn target(&self, _index: usize) -> Target<'_> {
        Target::Main
    }

    fn record(&self, index: usize) -> &[u8] {
        let (from, to) = self.records[index];
        &self.bytes[from..to]
    }
}
