//! A writer that goes on in the background while a test breaks things.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::child::{PATIENCE, until};
use crate::ledger::Ledger;
use crate::pipe::{Numbered, PipeWriter};

/// How fast, and what.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Records that are written in one go.
    pub burst: u64,
    /// The pause behind each burst.
    pub pause: Duration,
    /// A line without a frame follows every so many records; 0: none.
    pub torn_every: u64,
}

impl Default for Pace {
    /// Some ten thousand records a second.
    fn default() -> Self {
        Self { burst: 20, pause: Duration::from_millis(1), torn_every: 0 }
    }
}

/// A thread that writes numbered records into a pipe, as ompipe does, until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<Sent>>,
}

impl Load {
    /// Begins to write into `fifo`, which exists.
    pub fn start(fifo: &Path, records: &Numbered, pace: Pace) -> Self {
        let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let sent = Sent { records: records.clone(), count: 0, torn: Vec::new(), writer: PipeWriter::open(fifo) };
        let thread = thread::spawn({
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            move || go_on(sent, &pace, &stop, &written)
        });
        Self { stop, written, thread: Some(thread) }
    }

    /// Records written so far, without the torn lines.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until `more` records were written from now on.
    #[track_caller]
    pub fn go_on(&self, more: u64) {
        let goal = self.written() + more;
        until("the writer to go on", PATIENCE, || {
            assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "the writer ended");
            (self.written() >= goal).then_some(())
        });
    }

    /// Ends it, whether the pipe is full or not. The pipe stays open as long as the answer lives.
    pub fn stop(mut self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("the writer panicked")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn go_on(mut sent: Sent, pace: &Pace, stop: &AtomicBool, written: &AtomicU64) -> Sent {
    loop {
        for _ in 0..pace.burst {
            if !sent.put(&sent.records.record(sent.count), stop) {
                return sent;
            }
            sent.count += 1;
            written.store(sent.count, Ordering::Relaxed);
            if pace.torn_every > 0 && sent.count.is_multiple_of(pace.torn_every) {
                let mut line = format!("the end of a line behind {} {}", sent.records.run(), sent.count).into_bytes();
                line.push(b'\n');
                if !sent.put(&line, stop) {
                    return sent;
                }
                line.pop();
                sent.torn.push(line);
            }
        }
        thread::sleep(pace.pause);
    }
}

/// What a [`Load`] has written.
#[derive(Debug)]
pub struct Sent {
    records: Numbered,
    /// Whole records.
    pub count: u64,
    /// The lines without a frame, without LF.
    pub torn: Vec<Vec<u8>>,
    /// Its hold on the pipe.
    pub writer: PipeWriter,
}

impl Sent {
    /// A ledger that expects the records, to the byte.
    pub fn ledger(&self) -> Ledger {
        Ledger::new().sent(&self.records, 0..self.count)
    }

    /// False if it was time to end before the pipe had room.
    fn put(&mut self, bytes: &[u8], stop: &AtomicBool) -> bool {
        while !stop.load(Ordering::Relaxed) {
            if self.writer.try_write(bytes).is_some() {
                return true;
            }
            self.writer.wait_for_room(Duration::from_millis(50));
        }
        false
    }
}
