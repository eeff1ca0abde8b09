//! Frames out of the journal: what is new, for all lanes that do not wait, and what was passed by, for those that are behind.

use super::{Drainer, RETRY, tell};
use crate::journal::frame::{self, Malformed};
use crate::journal::{Lsn, Reader};
use crate::outlet::held::{key_of, lane_of};
use crate::outlet::plan::Plan;
use crate::outlet::water;
use crate::outlet::window::{self, Window};
use crate::position::Position;

/// Frames that are brought into Redis together, and the pushes that they are cut into.
#[derive(Default)]
pub(super) struct Load {
    pub window: Window,
    pub plan: Plan,
}

impl Load {
    fn clear(&mut self) {
        self.window.clear();
        self.plan.clear();
    }
}

/// For whom frames are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// For lanes that do not wait.
    Front,
    /// For lanes that are behind.
    Behind,
}

impl Drainer {
    /// Records that are taken in at once.
    fn most(&self) -> usize {
        if self.core.water.is_on() { water::WINDOW_RECORDS } else { window::RECORDS }
    }

    /// Takes in the next frames. After an error there is no window; what stands before the place of the error is one before it is told.
    pub(super) fn fill(&mut self, reader: &mut Reader) -> Result<(), String> {
        let mut load = std::mem::take(&mut self.front);
        load.clear();
        self.lanes.begin(false);
        let filled = self.take_in(reader, &mut load);
        self.front = load;
        filled
    }

    fn take_in(&mut self, reader: &mut Reader, load: &mut Load) -> Result<(), String> {
        while !load.window.is_full(self.most()) {
            if self.strange.is_some() {
                break;
            }
            let frame = match reader.next() {
                Ok(Some(frame)) => frame,
                Err(error) if load.window.last.is_none() => return Err(error.to_string()),
                // An error comes again.
                Ok(None) | Err(_) => break,
            };
            let lsn = frame.lsn;
            let base = load.window.bytes.len();
            load.window.bytes.extend_from_slice(frame.payload);
            if let Err(error) = self.take(load, base, Whom::Front) {
                // Nobody else may drain it: this program or its version does not fit the folder.
                self.strange = Some(format!("frame {} of the spool: {error}", lsn.0));
                break;
            }
            load.window.first.get_or_insert(lsn);
            load.window.last = Some(lsn);
            self.looked_at = lsn;
        }
        if let (Some(text), None) = (&self.strange, load.window.last) {
            self.core.stand(text);
            return Err(text.clone());
        }
        load.window.cut(&mut load.plan, &self.core);
        Ok(())
    }

    /// Takes in frames from `from` on for lanes that are behind, none that is new. Returns the last one, which may be missing.
    pub(super) fn fill_behind(&mut self, reader: &mut Reader, load: &mut Load, from: Lsn) -> Result<Lsn, String> {
        load.clear();
        // The places of a window that waits stay what they are.
        self.lanes.begin(true);
        reader.seek(Lsn(from.0.saturating_sub(1)));
        while !load.window.is_full(self.most()) {
            let frame = match reader.next() {
                Ok(Some(frame)) if frame.lsn <= self.looked_at => frame,
                Err(error) if load.window.last.is_none() => return Err(error.to_string()),
                Err(_) => break,
                Ok(_) => {
                    load.window.last = Some(self.looked_at);
                    break;
                }
            };
            let lsn = frame.lsn;
            let base = load.window.bytes.len();
            load.window.bytes.extend_from_slice(frame.payload);
            let taken = self.take(load, base, Whom::Behind);
            taken.map_err(|error| format!("frame {} of the spool: {error}", lsn.0))?;
            load.window.last = Some(lsn);
            if lsn == self.looked_at {
                break;
            }
        }
        load.window.first = Some(from);
        load.window.cut(&mut load.plan, &self.core);
        Ok(load.window.last.unwrap_or(self.looked_at))
    }

    /// Takes the frame apart that begins at `base`.
    fn take(&mut self, load: &mut Load, base: usize, whom: Whom) -> Result<(), Malformed> {
        let Load { window, plan } = load;
        let payload = &window.bytes[base..];
        let batch = frame::Batch::decode(payload)?;
        for part in batch.parts {
            if !std::mem::replace(&mut self.letters, true) {
                // Without it, what was parked would be pushed: there is no way around.
                while let Err(error) = self.core.look_up_letters(part.start.epoch) {
                    tell(&mut self.said, &self.core, &format!("the dead letters: {error}"));
                    self.core.pause(RETRY);
                    if self.core.is_stopping() {
                        return Ok(());
                    }
                }
            }
            key_of(&mut self.key, batch.producer, part.slot, part.list);
            let had = match whom {
                Whom::Front if self.held.holds(&self.key) => continue,
                Whom::Front => 0,
                Whom::Behind => match self.held.had(&self.key, part.start) {
                    Some(had) => usize::try_from(had).unwrap_or(usize::MAX),
                    None => continue,
                },
            };
            if had >= part.records.len() {
                continue;
            }
            let (place, last) = self.lanes.find(&self.key, || lane_of(&self.key));
            let start = Position { offset: part.start.offset + had as u64, ..part.start };
            // An earlier life may have parked some of it, and ended before it released the frame.
            let parked = self.core.parked_between(start, part.end());
            let mut in_plan = plan.part_at(place, start, last);
            for (record, offset) in part.records.iter().zip(part.start.offset..).skip(had) {
                if parked.binary_search(&(offset + 1)).is_ok() {
                    let next = Position { offset: offset + 1, ..part.start };
                    in_plan = plan.part_at(place, next, None);
                    continue;
                }
                let from = base + (record.as_ptr() as usize - payload.as_ptr() as usize);
                plan.add(window.records.len(), in_plan);
                window.records.push((from, from + record.len()));
            }
            self.lanes[place].part = in_plan;
        }
        Ok(())
    }
}
