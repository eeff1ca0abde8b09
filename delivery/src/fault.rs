//! Named places at which a test may kill the process.
//!
//! With the feature `fault-points` the environment variable `FIFO_BRIDGE_FAULT=NAME:COUNT` ends the process
//! by SIGKILL at the `COUNT`th passage of NAME, and `FIFO_BRIDGE_PANIC=NAME:COUNT` lets the first `COUNT` passages of NAME panic.
//! Without the feature a place costs nothing.

/// A step of the data path. Each is a line after which a crash has to be harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say where they stand")]
pub enum Place {
    DrainBeforeSplice,
    DrainAfterSplice,
    DrainBeforeRotate,
    DrainAfterRotate,
    PushBeforeSend,
    PushMidSend,
    PushAfterSend,
    PushAfterReply,
    SpoolBeforeFree,
    SpoolAfterFree,
    DeadLetterBeforeWrite,
    DeadLetterAfterWrite,
    StartBeforeCursor,
    JournalBeforeWrite,
    JournalAfterWrite,
    JournalAfterSync,
    JournalBeforeRename,
    JournalAfterRename,
    JournalBeforeFree,
    JournalAfterFree,
    OutletBeforeFence,
    OutletAfterFence,
    OutletBeforeSpool,
    OutletAfterSpool,
    OutletBeforeRelease,
    OutletAfterRelease,
}

impl Place {
    /// The places of the journal, for tests that walk through them.
    pub const JOURNAL: [Self; 7] = [
        Self::JournalBeforeWrite,
        Self::JournalAfterWrite,
        Self::JournalAfterSync,
        Self::JournalBeforeRename,
        Self::JournalAfterRename,
        Self::JournalBeforeFree,
        Self::JournalAfterFree,
    ];

    /// The places that only an outlet passes, for tests that walk through them.
    pub const OUTLET: [Self; 6] = [
        Self::OutletBeforeFence,
        Self::OutletAfterFence,
        Self::OutletBeforeSpool,
        Self::OutletAfterSpool,
        Self::OutletBeforeRelease,
        Self::OutletAfterRelease,
    ];

    /// The places that fifo-bridge passes, for tests that walk through them.
    pub const ALL: [Self; 13] = [
        Self::DrainBeforeSplice,
        Self::DrainAfterSplice,
        Self::DrainBeforeRotate,
        Self::DrainAfterRotate,
        Self::PushBeforeSend,
        Self::PushMidSend,
        Self::PushAfterSend,
        Self::PushAfterReply,
        Self::SpoolBeforeFree,
        Self::SpoolAfterFree,
        Self::DeadLetterBeforeWrite,
        Self::DeadLetterAfterWrite,
        Self::StartBeforeCursor,
    ];

    /// The name that the environment variable uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::DrainBeforeSplice => "drain-before-splice",
            Self::DrainAfterSplice => "drain-after-splice",
            Self::DrainBeforeRotate => "drain-before-rotate",
            Self::DrainAfterRotate => "drain-after-rotate",
            Self::PushBeforeSend => "push-before-send",
            Self::PushMidSend => "push-mid-send",
            Self::PushAfterSend => "push-after-send",
            Self::PushAfterReply => "push-after-reply",
            Self::SpoolBeforeFree => "spool-before-free",
            Self::SpoolAfterFree => "spool-after-free",
            Self::DeadLetterBeforeWrite => "dead-letter-before-write",
            Self::DeadLetterAfterWrite => "dead-letter-after-write",
            Self::StartBeforeCursor => "start-before-cursor",
            Self::JournalBeforeWrite => "journal-before-write",
            Self::JournalAfterWrite => "journal-after-write",
            Self::JournalAfterSync => "journal-after-sync",
            Self::JournalBeforeRename => "journal-before-rename",
            Self::JournalAfterRename => "journal-after-rename",
            Self::JournalBeforeFree => "journal-before-free",
            Self::JournalAfterFree => "journal-after-free",
            Self::OutletBeforeFence => "outlet-before-fence",
            Self::OutletAfterFence => "outlet-after-fence",
            Self::OutletBeforeSpool => "outlet-before-spool",
            Self::OutletAfterSpool => "outlet-after-spool",
            Self::OutletBeforeRelease => "outlet-before-release",
            Self::OutletAfterRelease => "outlet-after-release",
        }
    }
}

/// Passes `place`; may not return.
#[cfg(feature = "fault-points")]
pub fn pass(place: Place) {
    static PANICS: Armed = Armed::new("FIFO_BRIDGE_PANIC");
    if armed(place) && KILL.count() == 1 {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
    assert!(!PANICS.is(place) || PANICS.count() < 1, "a test wants a panic at {}", place.name());
}

/// Passes `place`.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn pass(place: Place) {
    #[cfg(test)]
    look(place);
    let _ = place;
}

/// What a test of this crate does at each passage: it looks at what a kill would leave.
#[cfg(all(test, not(feature = "fault-points")))]
pub(crate) type Hook = Box<dyn FnMut(Place)>;

#[cfg(all(test, not(feature = "fault-points")))]
thread_local! {
    pub(crate) static HOOK: std::cell::RefCell<Option<Hook>> = const { std::cell::RefCell::new(None) };
}

#[cfg(all(test, not(feature = "fault-points")))]
fn look(place: Place) {
    if let Some(mut hook) = HOOK.take() {
        hook(place);
        HOOK.set(Some(hook));
    }
}

/// True if a test wants the process to die at `place` at all: the place may then prepare for it.
#[cfg(feature = "fault-points")]
pub fn armed(place: Place) -> bool {
    KILL.is(place)
}

/// Never.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn armed(_place: Place) -> bool {
    false
}

#[cfg(feature = "fault-points")]
static KILL: Armed = Armed::new("FIFO_BRIDGE_FAULT");

/// A place and a count that an environment variable names.
#[cfg(feature = "fault-points")]
struct Armed {
    variable: &'static str,
    place: std::sync::OnceLock<Option<Place>>,
    count: std::sync::atomic::AtomicI64,
}

#[cfg(feature = "fault-points")]
impl Armed {
    const fn new(variable: &'static str) -> Self {
        Self { variable, place: std::sync::OnceLock::new(), count: std::sync::atomic::AtomicI64::new(0) }
    }

    fn is(&self, place: Place) -> bool {
        let named = self.place.get_or_init(|| {
            let wanted = std::env::var(self.variable).ok()?;
            let (name, count) = wanted.split_once(':')?;
            self.count.store(count.parse().ok()?, std::sync::atomic::Ordering::Relaxed);
            Place::ALL.into_iter().chain(Place::JOURNAL).chain(Place::OUTLET).find(|place| place.name() == name)
        });
        *named == Some(place)
    }

    /// What is left of the count before this passage.
    fn count(&self) -> i64 {
        self.count.fetch_sub(1, std::sync::atomic::Ordering::Relaxed)
    }
}
