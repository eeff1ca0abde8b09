//! Whether an append has a chance, for whoever was refused one. Nothing is tried, nobody who writes is waited for.

use super::format::{self, HEADER_BYTES};
use super::writer::grown;
use super::{Journal, locked};

impl Journal {
    /// True if frames with so many bytes of payload fit as things are now, all of them together. The disk may still say otherwise.
    pub fn has_room_for(&self, payload: usize) -> bool {
        let need = format::frame_size(payload) as u64;
        let segment_bytes = self.config.segment_bytes;
        let (held, more, spare) = {
            let state = locked(&self.state);
            let spare = state.spares.iter().map(|(_, bytes)| bytes).sum::<u64>();
            let held = state.bytes - spare.min(state.bytes);
            let fresh = grown(HEADER_BYTES, HEADER_BYTES + need, segment_bytes);
            // Spare files are given up for it, and so is everything else once it is drained.
            if state.released.lsn >= state.end.lsn {
                (0, fresh, state.bytes)
            } else {
                let current = state.segments.back().filter(|last| state.writing == Some(last.number));
                let fits = |bytes: u64, end: u64| end == HEADER_BYTES || end + need <= segment_bytes.max(bytes);
                let more = match current {
                    Some(last) if fits(last.bytes, last.end) => {
                        grown(last.bytes, last.end + need, segment_bytes) - last.bytes
                    }
                    _ => fresh,
                };
                (held, more, spare)
            }
        };
        held + more <= self.config.bytes_max && self.disk_has(more.saturating_sub(spare))
    }

    fn disk_has(&self, bytes: u64) -> bool {
        let free = rustix::fs::statvfs(&self.config.directory);
        bytes == 0 || free.map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes)
    }
}
