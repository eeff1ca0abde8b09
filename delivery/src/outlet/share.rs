//! What the outlets of one action count together.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use super::core::lock;
use crate::counters::{Counters, set};

/// Numbers of one moment, of one outlet.
#[derive(Debug, Clone, Copy, Default)]
struct Gauges {
    spool_bytes: u64,
    oldest_milliseconds: u64,
    held_back: u64,
    /// Whether Redis takes its pushes, once that is known.
    connected: Option<bool>,
}

/// The place of an outlet among those that count together. What happens is added up where it happens; gauges are put together here.
#[derive(Debug)]
pub(super) struct Share {
    pub counters: Arc<Counters>,
    all: Arc<Mutex<Vec<Gauges>>>,
    own: usize,
    /// Asked for with each push.
    connected: AtomicBool,
}

impl Share {
    /// Places for so many outlets.
    pub fn several(count: usize) -> impl Iterator<Item = Self> {
        let (counters, all) = (Arc::<Counters>::default(), Arc::new(Mutex::new(vec![Gauges::default(); count])));
        (0..count).map(move |own| Self {
            counters: Arc::clone(&counters),
            all: Arc::clone(&all),
            own,
            connected: AtomicBool::new(false),
        })
    }

    /// The place of an outlet that counts for itself.
    pub fn alone() -> Self {
        let own = Self::several(1).next();
        own.expect("one was asked for")
    }

    /// True while Redis takes pushes of this outlet.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Redis takes pushes of this outlet, or does not. All are connected if none is away.
    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Relaxed);
        let mut all = lock(&self.all);
        all[self.own].connected = Some(connected);
        let known = || all.iter().filter_map(|gauges| gauges.connected);
        self.counters.connected.store(i64::from(known().all(|connected| connected)), Relaxed);
    }

    /// So many lists of this outlet are held back.
    pub fn set_held(&self, lists: u64) {
        let mut all = lock(&self.all);
        all[self.own].held_back = lists;
        set(&self.counters.held_back, all.iter().map(|gauges| gauges.held_back).sum());
    }

    /// What this outlet has in its spool, and for how long.
    pub fn set_spool(&self, bytes: u64, oldest_milliseconds: u64) {
        let mut all = lock(&self.all);
        (all[self.own].spool_bytes, all[self.own].oldest_milliseconds) = (bytes, oldest_milliseconds);
        set(&self.counters.spool_bytes, all.iter().map(|gauges| gauges.spool_bytes).sum());
        let oldest = all.iter().map(|gauges| gauges.oldest_milliseconds).max();
        set(&self.counters.oldest_unpushed_milliseconds, oldest.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::get;

    #[test]
    fn gauges_of_several_are_put_together() {
        let shares: Vec<Share> = Share::several(3).collect();
        let counters = Arc::clone(&shares[0].counters);
        shares[0].set_spool(100, 7);
        shares[1].set_spool(20, 9);
        shares[0].set_spool(50, 0);
        assert_eq!((get(&counters.spool_bytes), get(&counters.oldest_unpushed_milliseconds)), (70, 9));
        let connected = || counters.connected.load(Relaxed);
        shares[0].set_connected(true);
        assert_eq!(connected(), 1);
        shares[2].set_connected(false);
        shares[1].set_connected(true);
        assert_eq!(connected(), 0);
        assert!(shares[0].is_connected() && !shares[2].is_connected());
        shares[2].set_connected(true);
        assert_eq!(connected(), 1);
    }
}
