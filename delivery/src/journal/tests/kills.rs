//! Killed at every step: what another process finds then.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::failures::killed;
use super::*;
use crate::fault::{self, Place};

/// What is known to whoever appends and drains.
#[derive(Debug, Default)]
struct Known {
    taken: Vec<u64>,
    released: usize,
    /// An append is under way.
    trying: Option<u64>,
    /// A release is under way, up to here.
    releasing: usize,
    places: BTreeSet<&'static str>,
    kills: u64,
}

impl Known {
    /// Holds what a process would find that starts now against what is known.
    fn judge(&mut self, config: &JournalConfig, place: Place) {
        self.places.insert(place.name());
        self.kills += 1;
        let (found, lost) = killed(config);
        let mut wanted = self.taken.clone();
        if found.last() == self.trying.as_ref() {
            wanted.extend(self.trying);
        }
        assert!(wanted.ends_with(&found), "{place:?}: {found:?} of {wanted:?}");
        let drained = wanted.len() - found.len();
        assert!(drained <= self.released.max(self.releasing), "{place:?}: {found:?} of {wanted:?}");
        assert_eq!(lost, (0, 0), "{place:?}");
    }
}

#[test]
fn killed_at_every_step_nothing_is_lost() {
    let folder = folder();
    let config = JournalConfig { bytes_max: 400_000, ..config(folder.path()) };
    let known = Rc::new(RefCell::new(Known::default()));
    let (journal, mut reader) = open(&config);
    let (judge, judged) = (Rc::clone(&known), config.clone());
    fault::HOOK.set(Some(Box::new(move |place| judge.borrow_mut().judge(&judged, place))));
    let mut read = Vec::new();
    for number in 0..150 {
        known.borrow_mut().trying = Some(number);
        let answer = journal.append(&payload(number, 9000), 1);
        let mut state = known.borrow_mut();
        state.trying = None;
        state.taken.extend(answer.is_ok().then_some(number));
        drop(state);
        if number % 7 == 3 {
            // All that was read but the last three.
            read.extend(drain(&mut reader));
            let up_to = read.len().saturating_sub(3);
            known.borrow_mut().releasing = up_to;
            if let Some((lsn, _)) = up_to.checked_sub(1).map(|last| read[last]) {
                journal.release(lsn).expect("release");
            }
            known.borrow_mut().released = up_to;
        }
    }
    fault::HOOK.set(None);
    let known = known.borrow();
    let all: BTreeSet<&str> = Place::JOURNAL.into_iter().map(Place::name).collect();
    assert_eq!(known.places, all, "each step was passed");
    assert!(known.kills > 400 && known.released > 100, "{} {}", known.kills, known.released);
}
