//! What was drained is given up: the mark moves, segments become spare files or go.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::format::Count;
use super::mark::Mark;
use super::writer::{self, Writer};
use super::{Journal, JournalError, Lsn, Segment, folder, locked};
use crate::fault::{self, Place};
use crate::spool::Sync;

/// The mark is written this often while it moves,
const MARK_EVERY: Duration = Duration::from_millis(100);
/// or after so many frames.
const MARK_FRAMES: u64 = 10_000;
/// Files that are kept for their next use.
pub(super) const SPARES_MAX: usize = 2;

impl Journal {
    /// Everything up to `lsn` was drained and is not wanted any more. Notes it now and then, and gives up files.
    ///
    /// An error costs nothing but room: it is tried again the next time.
    pub fn release(&self, lsn: Lsn) -> Result<(), JournalError> {
        let gone = {
            let mut state = locked(&self.state);
            let state = &mut *state;
            while state.trail.front().is_some_and(|(count, _)| count.lsn <= lsn.0 + 1) {
                let Some((count, place)) = state.trail.pop_front() else { break };
                (state.released, state.from) = (count, place);
            }
            // What was passed over because it is damaged is not waited for.
            state.released.lsn = state.released.lsn.max(lsn.0 + 1).min(state.end.lsn);
            if state.released.lsn == state.end.lsn {
                (state.released, state.from) = (state.end, state.end_at);
            }
            let mut gone = Vec::new();
            while let Some(first) = state.segments.front()
                && state.writing != Some(first.number)
                && first.after.lsn <= state.released.lsn
            {
                gone.extend(state.segments.pop_front());
            }
            gone
        };
        let mut done = 0;
        let freed = self.note_before_freeing(!gone.is_empty()).and_then(|()| {
            gone.iter().try_for_each(|segment| {
                let path = folder::segment_path(&self.config.directory, segment.number);
                self.give_up(segment).map_err(JournalError::io("cannot free", &path))?;
                done += 1;
                Ok(())
            })
        });
        if freed.is_err() {
            let mut state = locked(&self.state);
            gone[done..].iter().rev().for_each(|segment| state.segments.push_front(*segment));
        }
        freed
    }

    /// How many frames were given out and are not released.
    pub fn given_out(&self) -> usize {
        locked(&self.state).trail.len()
    }

    /// A full disk may have no room for the mark, and must be freed all the same: at worst a later start will miss what was drained.
    fn note_before_freeing(&self, now: bool) -> Result<(), JournalError> {
        match self.note(now) {
            Err(JournalError::Io { source, .. }) if writer::is_full(source.kind()) => Ok(()),
            noted => noted,
        }
    }

    fn give_up(&self, segment: &Segment) -> io::Result<()> {
        let directory = &self.config.directory;
        let path = folder::segment_path(directory, segment.number);
        fault::pass(Place::JournalBeforeFree);
        let wanted = segment.bytes <= self.config.segment_bytes && locked(&self.state).spares.len() < SPARES_MAX;
        let kept = match wanted {
            true => std::fs::rename(&path, folder::spare_path(directory, segment.number)),
            false => folder::remove(&path),
        };
        match kept {
            Ok(()) if wanted => locked(&self.state).spares.push((segment.number, segment.bytes)),
            // One that somebody has removed is as good as given up.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => locked(&self.state).bytes -= segment.bytes,
        }
        fault::pass(Place::JournalAfterFree);
        Ok(())
    }

    /// Writes the mark if it is time, or in any case `now`: then it is on disk afterwards.
    pub(super) fn note(&self, now: bool) -> Result<(), JournalError> {
        let due = |state: &super::State| {
            state.released != state.marked
                && (state.marked_at.elapsed() >= MARK_EVERY || state.released.lsn >= state.marked.lsn + MARK_FRAMES)
        };
        if !now && !due(&locked(&self.state)) {
            return Ok(());
        }
        // Whoever comes second writes what is newest by then.
        let mut marking = locked(&self.marking);
        let mark = {
            let state = locked(&self.state);
            Mark {
                store: self.store,
                generation: marking.generation + 1,
                epoch: self.epoch.0,
                released: state.released,
                from: state.from,
                settled_at: state.end_at,
                settled: state.end,
            }
        };
        marking.file.write(&self.disk, &mark)?;
        marking.generation += 1;
        if now && self.config.sync != Sync::Never {
            marking.file.sync(&self.disk)?;
        }
        let mut state = locked(&self.state);
        (state.marked, state.marked_at) = (mark.released, Instant::now());
        Ok(())
    }

    /// Puts the epoch of this life on the disk, whatever the sync policy: positions in it go to Redis, and if a power loss made the
    /// next life open the same one, what that brings would be taken for a repeat. Spare files make room for it.
    pub(super) fn note_epoch(&self) -> Result<(), JournalError> {
        let directory = &self.config.directory;
        loop {
            let noted = self.note(true).and_then(|()| {
                if self.config.sync == Sync::Never {
                    locked(&self.marking).file.sync(&self.disk)?;
                }
                // The file may be new.
                let synced = self.disk.sync_folder(&self.folder, directory);
                synced.map_err(JournalError::io("cannot sync its folder", directory))
            });
            match noted {
                Err(JournalError::Io { source, .. }) if writer::is_full(source.kind()) && self.drop_spare() => {}
                noted => return noted,
            }
        }
    }

    /// Does what is due: a sync, a mark. [`wait`](Self::wait) does it, too. An interval is kept only if somebody calls one of them.
    pub fn tick(&self) {
        if Writer::is_busy(self)
            && let Ok(mut writer) = self.writer.try_lock()
        {
            writer.settle(self, false);
        }
        if let Err(error) = self.note(false) {
            log::debug!("{error}");
        }
    }

    /// Forces to the disk all that is not there yet, and notes how far everything is.
    pub fn flush(&self) {
        locked(&self.writer).settle(self, true);
        if let Err(error) = self.note(true) {
            log::warn!("{error}: some records will be read again and recognised");
        }
    }

    /// Adds to the damage: frames and records between the two counts are lost.
    pub(super) fn lost(&self, from: Count, to: Count) {
        self.damage.lost_frames.fetch_add(to.lsn.saturating_sub(from.lsn), Relaxed);
        self.damage.lost_records.fetch_add(to.record.saturating_sub(from.record), Relaxed);
    }
}
