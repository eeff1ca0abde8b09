//! Bringing the first records of a transaction to Redis while the last are still coming in.
//!
//! rsyslog waits for an answer to each message, and so does one processor for the other. A thread uses that time: it is handed parts of the transaction
//! in order, and the commit has little left to do. What is accepted is brought away in any case, so that nothing is lost by beginning early.
//!
//! The thread has a share of each part and tells only whether it is safe. The parts stay here: whatever becomes of the thread, all of them come back,
//! and what was not said to be safe is not.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::held::Section;

/// How often a wait looks up.
const SLICE: Duration = Duration::from_millis(10);

/// Records of a part. With 128 and with 512 transactions took longer, and so they did when the last part was handed over a little before
/// its end: the commit then waits for two pushes, one after the other.
pub(crate) const PART_RECORDS: usize = 256;

/// What the thread is handed, and what it has said.
pub(crate) struct Ahead {
    parts: Option<Sender<Arc<Section>>>,
    thread: Option<JoinHandle<()>>,
    said: Receiver<bool>,
    /// What was handed over and not taken back, in order.
    out: VecDeque<Arc<Section>>,
    /// The commit waits and does not want to any longer.
    hurry: Arc<AtomicBool>,
    /// A part was turned away: those behind it must not overtake it.
    stuck: Arc<AtomicBool>,
}

impl Ahead {
    /// Begins the thread. `bring` makes a part safe, or gives up soon after it is told to by the function that it is given; true if it
    /// is safe. Without a thread everything is left to the commit.
    pub fn with(mut bring: impl FnMut(&Section, &dyn Fn() -> bool) -> bool + Send + 'static) -> Self {
        let (hurry, stuck) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (parts, queue) = channel::<Arc<Section>>();
        let (tell, said) = channel();
        let body = {
            let (hurry, stuck) = (Arc::clone(&hurry), Arc::clone(&stuck));
            move || {
                for part in queue {
                    let interrupted = || hurry.load(Ordering::Relaxed);
                    // Behind a panic nothing is known: the commit brings it again, at the same positions.
                    let brought = || !stuck.load(Ordering::Acquire) && bring(&part, &interrupted);
                    let safe = catch_unwind(AssertUnwindSafe(brought)).unwrap_or(false);
                    if !safe {
                        stuck.store(true, Ordering::Release);
                    }
                    drop(part);
                    if tell.send(safe).is_err() {
                        return;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("ahead".into()).spawn(body).ok();
        Self { parts: thread.is_some().then_some(parts), thread, said, out: VecDeque::new(), hurry, stuck }
    }

    /// Hands a part over; gives it back if there is no thread, or one before it was turned away.
    pub fn hand_over(&mut self, part: Section) -> Result<(), Section> {
        let Some(parts) = self.parts.as_ref().filter(|_| !self.stuck.load(Ordering::Acquire)) else {
            return Err(part);
        };
        let part = Arc::new(part);
        // Nobody takes it: it comes back with the others.
        let _ = parts.send(Arc::clone(&part));
        self.out.push_back(part);
        Ok(())
    }

    /// True if something was handed over and not taken back.
    pub fn is_out(&self) -> bool {
        !self.out.is_empty()
    }

    /// Records that were handed over and not taken back.
    pub fn records(&self) -> usize {
        self.out.iter().map(|part| part.len()).sum()
    }

    /// Takes back everything that was handed over, in order, each part with whether it is safe.
    pub fn wait(&mut self, interrupted: &dyn Fn() -> bool, back: &mut VecDeque<(Section, bool)>) {
        while let Some(part) = self.out.pop_front() {
            let safe = loop {
                match self.said.recv_timeout(SLICE) {
                    Ok(safe) => break safe,
                    Err(RecvTimeoutError::Timeout) => {
                        if interrupted() {
                            self.hurry.store(true, Ordering::Relaxed);
                        }
                    }
                    // There is no thread any more. What it has said was heard; the rest is not safe.
                    Err(RecvTimeoutError::Disconnected) => {
                        self.parts = None;
                        break false;
                    }
                }
            };
            back.push_back((Arc::unwrap_or_clone(part), safe));
        }
        self.hurry.store(false, Ordering::Relaxed);
        self.stuck.store(false, Ordering::Release);
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.hurry.store(true, Ordering::Relaxed);
        self.stuck.store(true, Ordering::Release);
        self.parts = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use delivery::position::{Epoch, Position};

    use super::*;

    fn part(number: u64) -> Section {
        let mut part = Section::new("list", Position { epoch: Epoch(1), offset: number });
        part.push(number.to_string().as_bytes());
        part
    }

    /// The parts that come back, by their positions.
    fn back(ahead: &mut Ahead) -> Vec<(u64, bool)> {
        let mut back = VecDeque::new();
        ahead.wait(&|| false, &mut back);
        assert!(!ahead.is_out() && ahead.records() == 0);
        assert!(back.iter().all(|(found, _)| *found == part(found.at.offset)), "a part comes back as it was: {back:?}");
        back.into_iter().map(|(part, safe)| (part.at.offset, safe)).collect()
    }

    /// Hands over the parts of `range`; a part that is not taken any more goes where the session puts it.
    fn hand_over(ahead: &mut Ahead, range: std::ops::Range<u64>) -> Vec<(u64, bool)> {
        for number in range.clone() {
            if let Err(given_back) = ahead.hand_over(part(number)) {
                assert_eq!(given_back, part(number));
                return [back(ahead), vec![(number, false)], hand_over(ahead, number + 1..range.end)].concat();
            }
        }
        back(ahead)
    }

    #[test]
    fn what_was_turned_away_is_not_overtaken_and_the_next_transaction_is_taken() {
        let mut ahead = Ahead::with(|part, _| part.at.offset != 1);
        let found = hand_over(&mut ahead, 0..1);
        assert_eq!(found, [(0, true)]);
        assert!(ahead.hand_over(part(1)).is_ok());
        assert_eq!(back(&mut ahead), [(1, false)]);
        let found = hand_over(&mut ahead, 2..4);
        assert_eq!(found, [(2, true), (3, true)]);
    }

    #[test]
    fn behind_a_panic_all_parts_come_back_unsafe_and_in_order_and_the_thread_goes_on() {
        let mut ahead = Ahead::with(|part, _| {
            assert_ne!(part.at.offset, 2, "as a test wants it");
            true
        });
        assert_eq!(hand_over(&mut ahead, 0..2), [(0, true), (1, true)]);
        let found = hand_over(&mut ahead, 2..6);
        let places: Vec<u64> = found.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [2, 3, 4, 5]);
        assert!(!found[0].1, "{found:?}");
        assert_eq!(hand_over(&mut ahead, 6..8), [(6, true), (7, true)]);
    }

    /// Held up until all parts are with it, it cannot give any of them back early.
    #[test]
    fn parts_that_wait_behind_a_panic_are_not_brought() {
        let (open, gate) = channel::<()>();
        let mut ahead = Ahead::with(move |_, _| {
            gate.recv().expect("it is opened");
            panic!("as a test wants it");
        });
        for number in 0..5 {
            ahead.hand_over(part(number)).expect("it takes it");
        }
        assert_eq!(ahead.records(), 5);
        open.send(()).expect("it waits");
        assert_eq!(back(&mut ahead), [(0, false), (1, false), (2, false), (3, false), (4, false)]);
    }

    #[test]
    fn a_thread_that_is_gone_keeps_no_part() {
        let mut ahead = Ahead::with(|_, _| true);
        assert_eq!(hand_over(&mut ahead, 0..1), [(0, true)]);
        // As if it had ended: nobody takes parts and nobody says anything.
        let (parts, _) = channel();
        let (_, said) = channel();
        let thread = ahead.thread.take();
        (ahead.parts, ahead.said) = (Some(parts), said);
        thread.expect("it runs").join().expect("it ends when nothing more can come");
        assert_eq!(hand_over(&mut ahead, 1..3), [(1, false), (2, false)]);
        let given_back = ahead.hand_over(part(3)).expect_err("nobody is there to take it");
        assert_eq!(given_back, part(3));
    }

    #[test]
    fn who_waits_can_hurry_it() {
        let mut ahead = Ahead::with(|_, interrupted| {
            while !interrupted() {
                std::thread::sleep(Duration::from_millis(1));
            }
            false
        });
        ahead.hand_over(part(0)).expect("it takes it");
        let mut found = VecDeque::new();
        ahead.wait(&|| true, &mut found);
        assert_eq!(found, [(part(0), false)]);
    }
}
