//! Bringing the first records of a transaction to Redis while the last are still coming in.
//!
//! rsyslog waits for an answer to each message, and so does one processor for the other. A thread uses that time: it is handed parts of the transaction
//! in order, and the commit has little left to do. What is accepted is brought away in any case, so that nothing is lost by beginning early.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use delivery::outlet::{Outcome, Worker};

use crate::held::Section;
use crate::session::Records;

/// How often a wait looks up.
const SLICE: Duration = Duration::from_millis(10);

struct Job {
    section: Section,
    main: bool,
}

/// The worker, and the thread that uses it ahead of the commit.
pub(crate) struct Ahead {
    worker: Arc<Mutex<Worker>>,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    said: Receiver<(Section, bool)>,
    out: usize,
    /// The commit waits and does not want to any longer.
    hurry: Arc<AtomicBool>,
    /// A part was turned away: those behind it must not overtake it.
    stuck: Arc<AtomicBool>,
}

impl Ahead {
    /// Begins the thread. Without one everything is left to the commit.
    pub fn new(worker: Worker) -> Self {
        let worker = Arc::new(Mutex::new(worker));
        let (hurry, stuck) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (jobs, queue) = channel::<Job>();
        let (tell, said) = channel();
        let body = {
            let (worker, hurry, stuck) = (Arc::clone(&worker), Arc::clone(&hurry), Arc::clone(&stuck));
            move || {
                for Job { section, main } in queue {
                    let safe = !stuck.load(Ordering::Acquire) && {
                        let records = Records { section: &section, main };
                        let interrupted = || hurry.load(Ordering::Relaxed);
                        lock(&worker).commit_at(section.at, &records, &interrupted) == Outcome::Done
                    };
                    if !safe {
                        stuck.store(true, Ordering::Release);
                    }
                    if tell.send((section, safe)).is_err() {
                        return;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("ahead".into()).spawn(body);
        let thread = thread.ok();
        Self { worker, jobs: thread.is_some().then_some(jobs), thread, said, out: 0, hurry, stuck }
    }

    /// The worker. What was handed over comes first: see [`wait`](Self::wait).
    pub fn worker(&self) -> MutexGuard<'_, Worker> {
        lock(&self.worker)
    }

    /// Hands a part over; gives it back if there is no thread, or one before it was turned away.
    pub fn hand_over(&mut self, section: Section, main: bool) -> Result<(), Section> {
        if self.stuck.load(Ordering::Acquire) {
            return Err(section);
        }
        let Some(jobs) = &self.jobs else { return Err(section) };
        jobs.send(Job { section, main }).map_err(|error| error.0.section)?;
        self.out += 1;
        Ok(())
    }

    /// True if something was handed over and not taken back.
    pub fn is_out(&self) -> bool {
        self.out > 0
    }

    /// Takes back everything that was handed over, in order, each part with whether it is safe.
    pub fn wait(&mut self, interrupted: &dyn Fn() -> bool, back: &mut VecDeque<(Section, bool)>) {
        while self.out > 0 {
            match self.said.recv_timeout(SLICE) {
                Ok(part) => {
                    self.out -= 1;
                    back.push_back(part);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if interrupted() {
                        self.hurry.store(true, Ordering::Relaxed);
                    }
                }
                // It ended in a panic: what it had is in the notes.
                Err(RecvTimeoutError::Disconnected) => {
                    self.out = 0;
                    self.jobs = None;
                }
            }
        }
        self.hurry.store(false, Ordering::Relaxed);
        self.stuck.store(false, Ordering::Release);
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.hurry.store(true, Ordering::Relaxed);
        self.stuck.store(true, Ordering::Release);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(worker: &Mutex<Worker>) -> MutexGuard<'_, Worker> {
    // A commit that ended in a panic is noticed by the worker itself.
    worker.lock().unwrap_or_else(PoisonError::into_inner)
}
