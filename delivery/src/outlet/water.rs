//! Lists that are held back because they are too long, as all workers of an outlet and its drainer see them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use super::ask;
use super::core::{Core, lock};
use super::plan::{Plan, State};
use super::push::{Sender, Setback};
use super::share::Share;
use super::slot::{Lane, Lanes};
use crate::counters::set;
use crate::error::Trouble;
use crate::high_water::{FIRST, HighWater, Marks, Say};
use crate::link::Link;
use crate::push::Names;
use crate::wire::Patience;

/// While there is a limit the drainer brings so many records at once, or one frame: the list may become longer than the mark by these.
pub(super) const WINDOW_RECORDS: usize = 1024;

/// The lists that are held back. Without a limit it costs a look at an `Option`.
#[derive(Debug)]
pub(super) struct Water {
    marks: Option<Marks>,
    /// How many lists are held.
    held: AtomicU64,
    /// Redis said that it is out of memory.
    memory: AtomicBool,
    /// Lists that are held, or were a short time ago.
    lists: Mutex<HashMap<Box<str>, (HighWater, u64)>>,
}

impl Water {
    pub fn new(max_length: u64) -> Self {
        let (held, memory) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { marks: Marks::new(max_length), held, memory, lists: Mutex::default() }
    }

    /// True if there is a limit.
    pub fn is_on(&self) -> bool {
        self.marks.is_some()
    }

    /// True if a list is held.
    pub fn any_held(&self) -> bool {
        self.held.load(Relaxed) > 0
    }

    pub fn is_held(&self, list: &str) -> bool {
        self.any_held() && lock(&self.lists).get(list).is_some_and(|(water, _)| water.is_held())
    }

    /// True if nothing about the length of the list of `lane` has to be asked before a push.
    pub fn lets_go(&self, lane: &Lane) -> bool {
        !self.is_on() || lane.measured && !self.is_held(&lane.list)
    }

    /// Why records are held back; empty if they are not.
    pub fn why(&self) -> String {
        if self.memory.load(Relaxed) {
            return "redis is out of memory".into();
        }
        let lists = lock(&self.lists);
        let mut held = lists.iter().filter(|(_, (water, _))| water.is_held());
        let (Some((list, (_, length))), Some(marks)) = (held.next(), self.marks) else { return String::new() };
        let more = match held.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        format!("list {list:?} is {length} long, the limit is {}{more}", marks.high())
    }

    /// Redis is out of memory, or no longer.
    pub fn memory(&self, out: bool, share: &Share) {
        if self.memory.load(Relaxed) != out {
            self.memory.store(out, Relaxed);
            self.show(share);
        }
    }

    /// How long it is until somebody may ask for the length of `list`; zero if it is not held.
    pub fn wait(&self, list: &str, now: Instant) -> Duration {
        let lists = lock(&self.lists);
        lists.get(list).filter(|(water, _)| water.is_held()).map_or(Duration::ZERO, |(water, _)| water.wait(now))
    }

    /// How long the plan has to wait, if there is nothing else that it waits for.
    pub fn holds(&self, plan: &Plan) -> Option<Duration> {
        let waits = |state| plan.chunks.iter().any(|chunk| chunk.state == state);
        if !waits(State::Held) || waits(State::Open) || waits(State::Refused) {
            return None;
        }
        let now = Instant::now();
        let lists = lock(&self.lists);
        let held = lists.values().filter(|(water, _)| water.is_held());
        Some(
            held.map(|(water, _)| water.wait(now))
                .min()
                .unwrap_or_default()
                .clamp(Duration::from_millis(1), FIRST * 10),
        )
    }

    /// A push into `list` was answered with its length.
    pub fn pushed(&self, core: &Core, list: &str, length: u64) {
        if self.marks.is_some_and(|marks| length >= marks.high()) {
            self.learn(core, list, length, HighWater::pushed);
        }
    }

    /// The length of `list` was asked for.
    pub fn asked(&self, core: &Core, list: &str, length: u64) {
        set(&core.counters.list_length, length);
        if self.any_held() || self.marks.is_some_and(|marks| length >= marks.high()) {
            self.learn(core, list, length, HighWater::asked);
        }
    }

    /// True if the caller is to ask for the length of `list`, which is held.
    fn take_turn(&self, list: &str, now: Instant) -> bool {
        lock(&self.lists).get_mut(list).is_some_and(|(water, _)| water.take_turn(now))
    }

    fn learn(
        &self,
        core: &Core,
        list: &str,
        length: u64,
        event: impl FnOnce(&mut HighWater, u64, Instant) -> Option<Say>,
    ) {
        let Some(marks) = self.marks else { return };
        let now = Instant::now();
        let mut lists = lock(&self.lists);
        if !lists.contains_key(list) {
            lists.retain(|_, (water, _)| !water.is_idle(now));
            lists.insert(list.into(), (HighWater::new(marks, now), 0));
        }
        let Some((water, last)) = lists.get_mut(list) else { return };
        *last = length;
        let was = water.is_held();
        let said = event(water, length, now);
        match (was, water.is_held()) {
            (false, true) => self.held.fetch_add(1, Relaxed),
            (true, false) => self.held.fetch_sub(1, Relaxed),
            _ => 0,
        };
        drop(lists);
        self.show(&core.share);
        let name = &core.config.name;
        match said {
            Some(Say::Held(length)) => log::warn!(
                "{name}: list {list:?} is {length} long, the limit is {}: held back until it is down to {}",
                marks.high(),
                marks.low()
            ),
            Some(Say::Free(length)) => log::info!("{name}: list {list:?} is down to {length}: it is filled again"),
            None => {}
        }
    }

    fn show(&self, share: &Share) {
        let memory = u64::from(self.memory.load(Relaxed));
        share.set_held(self.held.load(Relaxed).max(memory));
    }
}

/// Before the open chunks are sent: those whose list is held are put aside, all of a list or none.
///
/// The length is asked for where it was never told, and where a list is held and its turn has come.
pub(super) fn hold_back(
    core: &Core,
    link: &mut Link,
    out: &mut Vec<u8>,
    lanes: &mut Lanes,
    plan: &mut Plan,
    patience: Patience<'_>,
) -> Result<(), Trouble> {
    let water = &core.water;
    let mut places: Vec<usize> =
        plan.chunks.iter().filter(|chunk| chunk.state == State::Open).map(|chunk| chunk.lane).collect();
    places.sort_unstable();
    places.dedup();
    let now = Instant::now();
    let is_due = |place: &usize| {
        let lane = &lanes[*place];
        lane.names.is_ok() && (!lane.measured || water.any_held() && water.take_turn(&lane.list, now))
    };
    let due: Vec<usize> = places.iter().copied().filter(is_due).collect();
    if !due.is_empty() {
        let names = due.iter().filter_map(|place| lanes[*place].names.as_ref().ok());
        let found = ask::lengths(core.config.mode.length_command(), link, out, names, patience)?;
        for (place, length) in due.into_iter().zip(found) {
            lanes[place].measured = true;
            water.asked(core, &lanes[place].list, length);
        }
    }
    if water.any_held() {
        places.retain(|place| water.is_held(&lanes[*place].list));
        for chunk in plan.chunks.iter_mut().filter(|chunk| chunk.state == State::Open) {
            if places.binary_search(&chunk.lane).is_ok() {
                chunk.state = State::Held;
            }
        }
    }
    Ok(())
}

impl Sender {
    /// For a worker that was turned away because of `lists`: true if one of them is no longer held. Asks if it is time to.
    pub fn is_let_go(&mut self, core: &Core, lists: &[Names], patience: Patience<'_>) -> Result<bool, Setback> {
        let now = Instant::now();
        let due: Vec<&Names> = lists.iter().filter(|names| core.water.take_turn(&names.list, now)).collect();
        if let Some(first) = due.first() {
            let link = self.port.open_for(core, first, patience)?;
            match ask::lengths(core.config.mode.length_command(), link, &mut Vec::new(), due.iter().copied(), patience)
            {
                Ok(found) => {
                    due.iter().zip(found).for_each(|(names, length)| core.water.asked(core, &names.list, length));
                }
                Err(trouble) => {
                    self.port.close();
                    self.port.failed();
                    return Err(trouble.into());
                }
            }
        }
        Ok(lists.iter().any(|names| !core.water.is_held(&names.list)))
    }
}
