//! The pace of refusals: hosts that ask again at once must not fill a processor.

use std::time::{Duration, Instant};

/// Two refusals follow each other no faster than this: old hosts ask again at once.
const CALM: Duration = Duration::from_millis(20);

/// When a batch was last turned away.
#[derive(Debug, Default)]
pub(super) struct Calm(Option<Instant>);

impl Calm {
    /// A batch is turned away. Sleeps if the last one was a moment ago.
    pub fn turn_away(&mut self) {
        if self.0.is_some_and(|last| last.elapsed() < CALM) {
            std::thread::sleep(CALM);
        }
        self.0 = Some(Instant::now());
    }
}
