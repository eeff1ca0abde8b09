//! What the threads of the bridge share.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use delivery::counters::{Counters, get, set};
use delivery::spool::Spool;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::settings::Settings;

/// What is known of the connection, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// True while Redis takes pushes.
    pub connected: bool,
    /// True when a person is needed.
    pub stopped: bool,
    /// The last trouble, empty if there was none.
    pub last_error: String,
    /// When it came, in seconds since 1970.
    pub last_error_time: u64,
    /// Why records are held back although Redis answers, empty if they are not.
    pub held_back: String,
}

/// What one lane tells the others.
#[derive(Debug, Default)]
pub struct LaneState {
    health: Mutex<Health>,
    /// Signs of life.
    beats: AtomicU64,
    /// Length of its list after its last push.
    pub list_length: AtomicU64,
    /// Records of it that Redis has confirmed.
    pub pushed: AtomicU64,
}

impl LaneState {
    /// What is known of its connection.
    pub fn health(&self) -> Health {
        lock(&self.health).clone()
    }
}

/// What the threads of the bridge share.
pub struct Shared {
    /// The counters.
    pub counters: Arc<Counters>,
    /// The spool.
    pub spool: Arc<Spool>,
    settings: Mutex<Arc<Settings>>,
    /// Grows with each reload.
    generation: AtomicU64,
    /// One for each lane.
    pub lanes: Vec<LaneState>,
    stop: AtomicBool,
    stopped: Condvar,
    stop_lock: Mutex<()>,
    waker: EventFd,
    drainer_beats: AtomicU64,
    linger_nanoseconds: AtomicU64,
    /// When the bridge started.
    pub started: Instant,
}

impl Shared {
    /// At the start.
    pub fn new(settings: Settings, spool: Arc<Spool>) -> std::io::Result<Self> {
        let linger = settings.linger.as_nanos() as u64;
        let lanes = (0..spool.config().lanes.count).map(|_| LaneState::default()).collect();
        Ok(Self {
            counters: Arc::default(),
            spool,
            settings: Mutex::new(Arc::new(settings)),
            generation: AtomicU64::new(0),
            lanes,
            stop: AtomicBool::new(false),
            stopped: Condvar::new(),
            stop_lock: Mutex::new(()),
            waker: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            drainer_beats: AtomicU64::new(0),
            linger_nanoseconds: AtomicU64::new(linger),
            started: Instant::now(),
        })
    }

    /// The settings in force and how often they were reloaded.
    pub fn settings(&self) -> (Arc<Settings>, u64) {
        let settings = lock(&self.settings);
        (Arc::clone(&settings), self.generation.load(Ordering::Acquire))
    }

    /// True if settings newer than `generation` are in force.
    pub fn reloaded_since(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) != generation
    }

    /// Puts new settings into force.
    pub fn reload(&self, settings: Settings) {
        self.linger_nanoseconds.store(settings.linger.as_nanos() as u64, Ordering::Relaxed);
        *lock(&self.settings) = Arc::new(settings);
        self.generation.fetch_add(1, Ordering::Release);
        self.spool.nudge();
    }

    /// How long a record may wait for company.
    pub fn linger(&self) -> Duration {
        Duration::from_nanos(self.linger_nanoseconds.load(Ordering::Relaxed))
    }

    /// What is known of all connections: connected if all are, stopped if one is, and the newest trouble.
    pub fn health(&self) -> Health {
        let each: Vec<Health> = self.lanes.iter().map(LaneState::health).collect();
        let connected = each.iter().all(|health| health.connected);
        let stopped = each.iter().any(|health| health.stopped);
        let held_back =
            each.iter().map(|health| health.held_back.clone()).find(|why| !why.is_empty()).unwrap_or_default();
        let newest = each.into_iter().max_by_key(|health| health.last_error_time).unwrap_or_default();
        Health { connected, stopped, held_back, ..newest }
    }

    /// Changes what is known of a lane's connection.
    pub fn note_health(&self, lane: usize, change: impl FnOnce(&mut Health)) {
        change(&mut lock(&self.lanes[lane].health));
        let connected = self.lanes.iter().all(|lane| lock(&lane.health).connected);
        self.counters.connected.store(i64::from(connected), Ordering::Relaxed);
    }

    /// Records of a lane are held back although Redis answers, for this reason; or are not any more.
    pub fn hold_back(&self, lane: usize, why: Option<String>) {
        lock(&self.lanes[lane].health).held_back = why.unwrap_or_default();
        let held = self.lanes.iter().filter(|lane| !lock(&lane.health).held_back.is_empty()).count();
        set(&self.counters.held_back, held as u64);
    }

    /// The list of a lane is so long.
    pub fn note_length(&self, lane: usize, length: u64) {
        set(&self.lanes[lane].list_length, length);
        set(&self.counters.list_length, self.lanes.iter().map(|lane| get(&lane.list_length)).sum());
    }

    /// Asks all threads to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // A full counter would mean that it is readable already.
        let _ = self.waker.write(1);
        let _guard = lock(&self.stop_lock);
        self.stopped.notify_all();
        self.spool.nudge();
    }

    /// True once the threads were asked to stop.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Sleeps for `pause`, or until the stop.
    pub fn stop_wait(&self, pause: Duration) {
        let guard = lock(&self.stop_lock);
        let _ = self.stopped.wait_timeout_while(guard, pause, |()| !self.stopping());
    }

    /// Readable once the threads were asked to stop.
    pub fn waker(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }

    /// The drainer lives.
    pub fn drainer_beat(&self) {
        self.drainer_beats.fetch_add(1, Ordering::Relaxed);
    }

    /// A lane's pusher lives.
    pub fn pusher_beat(&self, lane: usize) {
        self.lanes[lane].beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Signs of life of all threads, for the watchdog.
    pub fn beats(&self) -> Vec<u64> {
        let all = std::iter::once(&self.drainer_beats).chain(self.lanes.iter().map(|lane| &lane.beats));
        all.map(|beats| beats.load(Ordering::Relaxed)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing behind these locks can be left half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
