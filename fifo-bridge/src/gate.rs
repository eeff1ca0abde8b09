//! The list's high water, as the pusher uses it: asks how long the list is when it has to, and says what changes.

use std::time::{Duration, Instant};

use delivery::error::Trouble;
use delivery::high_water::{HighWater, Marks, Say};
use delivery::link::Link;
use delivery::push::Mode;

use crate::settings::Settings;
use crate::shared::Shared;

/// Closed while the list is too long. Without a limit it is always open, and asks nothing.
#[derive(Debug)]
pub struct Gate {
    lane: usize,
    list: String,
    mode: Mode,
    marks: Option<Marks>,
    water: Option<HighWater>,
    /// The status shows it.
    shown: bool,
}

impl Gate {
    /// The gate before the list of a lane, open.
    pub fn new(settings: &Settings, lane: usize, list: &str) -> Self {
        let marks = Marks::new(settings.file.queue.max_length);
        let water = marks.map(|marks| HighWater::new(marks, Instant::now()));
        Self { lane, list: list.to_owned(), mode: settings.mode.clone(), marks, water, shown: false }
    }

    /// True while nothing is to be pushed.
    pub fn is_closed(&self) -> bool {
        self.water.as_ref().is_some_and(HighWater::is_held)
    }

    /// Of a new connection: how long the list is. Another life, or another producer, may have filled it.
    pub fn look(&mut self, link: &mut Link, shared: &Shared) -> Result<(), Trouble> {
        if self.water.is_some() { self.ask(link, shared) } else { Ok(()) }
    }

    /// A push was answered with this length.
    pub fn pushed(&mut self, length: u64, shared: &Shared) {
        let said = self.water.as_mut().and_then(|water| water.pushed(length, Instant::now()));
        self.learned(length, said, shared);
    }

    /// While it is closed: asks for the length if it is time to. Returns how long to wait before the next look.
    pub fn knock(&mut self, link: &mut Link, shared: &Shared) -> Result<Duration, Trouble> {
        let now = Instant::now();
        if self.water.as_mut().is_some_and(|water| water.take_turn(now)) {
            self.ask(link, shared)?;
        }
        Ok(self.water.as_ref().filter(|water| water.is_held()).map_or(Duration::ZERO, |water| water.wait(now)))
    }

    fn ask(&mut self, link: &mut Link, shared: &Shared) -> Result<(), Trouble> {
        let length = link.length(&self.list, &self.mode)?;
        let said = self.water.as_mut().and_then(|water| water.asked(length, Instant::now()));
        self.learned(length, said, shared);
        Ok(())
    }

    fn learned(&mut self, length: u64, said: Option<Say>, shared: &Shared) {
        shared.note_length(self.lane, length);
        let Some(marks) = self.marks else { return };
        let closed = self.is_closed();
        if closed {
            let (word, list, high) = (self.mode.word(), &self.list, marks.high());
            let text = format!("{word} {list:?} is {length} long, queue.max-length is {high}");
            shared.hold_back(self.lane, Some(text));
        } else if self.shown {
            shared.hold_back(self.lane, None);
        }
        self.shown = closed;
        match said {
            Some(Say::Held(length)) => log::warn!(
                "{} {:?} is {length} long, queue.max-length is {}: records wait in the spool until it is down to {}",
                self.mode.word(),
                self.list,
                marks.high(),
                marks.low()
            ),
            Some(Say::Free(length)) => {
                log::info!("{} {:?} is down to {length}: records are pushed again", self.mode.word(), self.list);
            }
            None => {}
        }
    }
}
