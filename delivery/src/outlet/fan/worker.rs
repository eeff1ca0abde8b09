//! A thread of the host that hands in batches for several lanes.

use std::sync::Arc;
use std::time::Instant;

use super::Fan;
use crate::outlet::calm::Calm;
use crate::outlet::{Batch, Outcome, Target, Worker};
use crate::position::Position;
use crate::wire::Patience;

/// One thread of the host that hands in batches. It holds a slot of each lane while it lives.
pub struct FanWorker {
    fan: Arc<Fan>,
    workers: Vec<Worker>,
    /// The records of each lane in this batch.
    split: Vec<Vec<u32>>,
    /// The lanes that have some, and whether their pushes are on the way.
    used: Vec<(usize, bool)>,
    /// When a batch was last turned away.
    later: Calm,
}

/// The records of a batch that are of one lane.
struct Part<'a, B> {
    batch: &'a B,
    indexes: &'a [u32],
}

impl<B: Batch> Batch for Part<'_, B> {
    fn len(&self) -> usize {
        self.indexes.len()
    }

    fn target(&self, _index: usize) -> Target<'_> {
        Target::Main
    }

    fn record(&self, index: usize) -> &[u8] {
        self.batch.record(self.indexes[index] as usize)
    }
}

impl FanWorker {
    pub(super) fn new(fan: Arc<Fan>, workers: impl Iterator<Item = Worker>) -> Self {
        let workers: Vec<Worker> = workers.collect();
        Self { split: vec![Vec::new(); workers.len()], fan, workers, used: Vec::new(), later: Calm::default() }
    }

    /// Brings a batch into Redis, or to another safe place. See [`Worker::commit`].
    pub fn commit(&mut self, batch: &impl Batch, interrupted: &dyn Fn() -> bool) -> Outcome {
        if !self.fan.is_clear() {
            return self.turn_away();
        }
        if let [only] = self.workers.as_mut_slice() {
            return only.commit(batch, interrupted);
        }
        self.divide(batch);
        let outcome = match self.used.as_slice() {
            [] => Outcome::Done,
            // Nothing but this lane's own records would have to be remembered.
            [(lane, _)] => {
                let part = Part { batch, indexes: &self.split[*lane] };
                return self.workers[*lane].commit(&part, interrupted);
            }
            _ => self.commit_parts(batch, interrupted),
        };
        if outcome == Outcome::Later { self.turn_away() } else { outcome }
    }

    /// Which records are of which lane.
    fn divide(&mut self, batch: &impl Batch) {
        for (lane, _) in self.used.drain(..) {
            self.split[lane].clear();
        }
        for index in 0..batch.len() {
            let lane = match batch.target(index) {
                Target::Lane(lane) => (lane as usize).min(self.workers.len() - 1),
                Target::Main | Target::List(_) => 0,
            };
            if self.split[lane].is_empty() {
                self.used.push((lane, false));
            }
            self.split[lane].push(index as u32);
        }
    }

    fn commit_parts(&mut self, batch: &impl Batch, interrupted: &dyn Fn() -> bool) -> Outcome {
        let limit = self.workers.iter().map(Worker::limit).max().unwrap_or_default();
        let patience = Patience { deadline: Instant::now() + limit, interrupted };
        for (lane, launched) in &mut self.used {
            let part = Part { batch, indexes: &self.split[*lane] };
            *launched = self.workers[*lane].launch(&part, patience);
        }
        // Those that need more than to be sent first: the answers of the others do not run away.
        self.used.sort_by_key(|(_, launched)| *launched);
        let mut slow = self.used.iter().filter(|(_, launched)| !launched).count();
        let mut outcomes = Vec::with_capacity(self.used.len());
        for (lane, launched) in &self.used {
            let part = Part { batch, indexes: &self.split[*lane] };
            let mut patience = patience;
            if !launched {
                // One that answers nothing must leave time for the others.
                let now = Instant::now();
                patience.deadline = now + patience.deadline.saturating_duration_since(now) / slow as u32;
                slow -= 1;
            }
            outcomes.push(self.workers[*lane].conclude(&part, patience));
        }
        if outcomes.iter().all(|outcome| *outcome == Outcome::Done) {
            return Outcome::Done;
        }
        for ((lane, _), outcome) in self.used.iter().zip(&outcomes) {
            if *outcome == Outcome::Done {
                self.workers[*lane].expect_again(&Part { batch, indexes: &self.split[*lane] });
            }
        }
        if outcomes.contains(&Outcome::Later) { Outcome::Later } else { Outcome::Refused }
    }

    fn turn_away(&mut self) -> Outcome {
        self.later.turn_away();
        Outcome::Later
    }

    /// A batch of one lane that stands at `at` there. See [`Worker::commit_at`].
    pub fn commit_at(
        &mut self,
        lane: usize,
        at: Position,
        batch: &impl Batch,
        interrupted: &dyn Fn() -> bool,
    ) -> Outcome {
        if !self.fan.is_clear() {
            return self.turn_away();
        }
        let lane = lane.min(self.workers.len() - 1);
        self.workers[lane].commit_at(at, batch, interrupted)
    }

    /// Sends the first records of a batch of one lane, and waits for nothing. See [`Worker::send_ahead`].
    pub fn send_ahead(
        &mut self,
        lane: usize,
        at: Position,
        batch: &impl Batch,
        interrupted: &dyn Fn() -> bool,
    ) -> bool {
        let lane = lane.min(self.workers.len() - 1);
        self.fan.is_clear() && self.workers[lane].send_ahead(at, batch, interrupted)
    }

    /// What is in the spools from earlier lives is this worker's.
    pub fn take_over(&mut self) {
        self.workers.iter_mut().for_each(Worker::take_over);
    }

    /// True if nothing of this worker is left in the spools.
    pub fn is_drained(&self) -> bool {
        self.workers.iter().all(Worker::is_drained)
    }

    /// True if a batch that is handed in now has a chance in each lane.
    pub fn probe(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        self.fan.is_clear() && self.workers.iter_mut().all(|worker| worker.probe(interrupted))
    }

    /// True if any batch of usual size would be taken now in each lane. See [`Worker::has_place`].
    pub fn has_place(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        self.fan.is_clear() && self.workers.iter_mut().all(|worker| worker.has_place(interrupted))
    }

    /// Parks a record that the host could not even hand in. See [`Worker::set_aside`].
    pub fn set_aside(&self, list: &str, detail: &str, record: &[u8]) -> Outcome {
        self.workers[0].set_aside(list, detail, record)
    }
}
