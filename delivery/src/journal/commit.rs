//! Group commit. Whoever finds nobody at work writes its own frame and all that wait behind it, with one write and one sync; then the
//! first of those that came meanwhile is the next. Nobody waits for a clock.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use super::format::{self, FRAME_HEADER_BYTES, HEADER_BYTES, PAYLOAD_BYTES_MAX};
use super::{Journal, Lsn, locked};

/// Bytes that are written together, at most. More would not be faster, and the first of them would wait for the last.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Why a frame was not taken. It is nowhere in the journal then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// No room until something is drained.
    #[error("the spool is full: {0}")]
    Full(String),
    /// Larger than the journal may ever be.
    #[error("a batch of {bytes} bytes is larger than the spool may be")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The disk failed.
    #[error("the spool has failed: {text}")]
    Failed {
        /// What it said.
        text: String,
        /// What kind of error it was.
        kind: io::ErrorKind,
    },
}

/// A frame that waits to be written. The header is filled in when its number is known.
#[derive(Debug)]
pub(super) struct Pending {
    pub bytes: Vec<u8>,
    pub len: u32,
    pub records: u32,
    pub payload_sum: u32,
    slot: Arc<Slot>,
}

#[derive(Debug)]
struct Slot {
    answer: OnceLock<Result<Lsn, AppendError>>,
    /// It is this one's turn to write.
    lead: AtomicBool,
    thread: Thread,
}

/// Frames that wait, and whether somebody is writing.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Pending>,
    leading: bool,
}

impl Journal {
    /// Appends a frame with `payload`, which holds so many records. Returns when it is as safe as the sync policy says. The order of one
    /// caller's frames is kept. After an error nothing of it is or will be in the journal.
    pub fn append(&self, payload: &[u8], records: u32) -> Result<Lsn, AppendError> {
        let size = format::frame_size(payload.len());
        if payload.len() > PAYLOAD_BYTES_MAX || size as u64 + HEADER_BYTES > self.config.bytes_max {
            return Err(AppendError::TooLarge { bytes: payload.len() as u64 });
        }
        let mut bytes = Vec::with_capacity(size);
        bytes.resize(FRAME_HEADER_BYTES, 0);
        bytes.extend_from_slice(payload);
        bytes.resize(size, 0);
        let slot = Arc::new(Slot { answer: OnceLock::new(), lead: AtomicBool::new(false), thread: thread::current() });
        let payload_sum = crc32c::crc32c(payload);
        let pending = Pending { bytes, len: payload.len() as u32, records, payload_sum, slot: Arc::clone(&slot) };
        let leads = {
            let mut queue = locked(&self.queue);
            queue.waiting.push_back(pending);
            !std::mem::replace(&mut queue.leading, true)
        };
        if !leads {
            while slot.answer.get().is_none() && !slot.lead.load(Ordering::Acquire) {
                thread::park();
            }
        }
        if slot.answer.get().is_none() {
            self.lead();
        }
        let gone = || AppendError::Failed { text: "its writer is gone".into(), kind: io::ErrorKind::Other };
        slot.answer.get().cloned().unwrap_or_else(|| Err(gone()))
    }

    /// Writes the group at the front of the queue and hands the lead on.
    fn lead(&self) {
        let mut turn = Turn { journal: self, group: Vec::new(), first: None };
        let mut writer = locked(&self.writer);
        let room = writer.room(self);
        {
            let mut queue = locked(&self.queue);
            let mut bytes = 0;
            let limit = queue.waiting.front().map_or(0, |first| room.for_frame(first.bytes.len())).min(GROUP_BYTES_MAX);
            while let Some(next) = queue.waiting.front()
                && (turn.group.is_empty() || bytes + next.bytes.len() <= limit)
            {
                bytes += next.bytes.len();
                turn.group.extend(queue.waiting.pop_front());
            }
        }
        turn.first = Some(writer.commit(self, &mut turn.group));
    }
}

/// Answers the group and hands the lead on, also when the leader panics.
struct Turn<'a> {
    journal: &'a Journal,
    group: Vec<Pending>,
    first: Option<Result<Lsn, AppendError>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.first.is_none() {
            locked(&self.journal.writer).forsake(self.journal);
        }
        {
            let mut queue = locked(&self.journal.queue);
            if let Some(next) = queue.waiting.front() {
                next.slot.lead.store(true, Ordering::Release);
                next.slot.thread.unpark();
            } else {
                queue.leading = false;
            }
        }
        let first = self.first.take().unwrap_or_else(|| {
            Err(AppendError::Failed { text: "its writer is gone".into(), kind: io::ErrorKind::Other })
        });
        for (index, pending) in self.group.drain(..).enumerate() {
            let answer = first.clone().map(|Lsn(first)| Lsn(first + index as u64));
            // Each is answered once: it is in one group only.
            let _ = pending.slot.answer.set(answer);
            pending.slot.thread.unpark();
        }
    }
}
