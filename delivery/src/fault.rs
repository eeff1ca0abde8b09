//! Named places at which a test may kill the process.
//!
//! With the feature `fault-points` the environment variable `FIFO_BRIDGE_FAULT=NAME:COUNT` ends the process
//! by SIGKILL at the `COUNT`th passage of NAME. Without the feature a place costs nothing.

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
    OutletBeforeFence,
    OutletAfterFence,
}

impl Place {
    /// True for those that only an outlet passes.
    pub fn is_of_the_outlet(self) -> bool {
        matches!(self, Self::OutletBeforeFence | Self::OutletAfterFence)
    }

    /// All places, for tests that walk through them.
    pub const ALL: [Self; 15] = [
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
        Self::OutletBeforeFence,
        Self::OutletAfterFence,
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
            Self::OutletBeforeFence => "outlet-before-fence",
            Self::OutletAfterFence => "outlet-after-fence",
        }
    }
}

/// Passes `place`; may not return.
#[cfg(feature = "fault-points")]
pub fn pass(place: Place) {
    if armed(place) && COUNT.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1 {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
}

/// Passes `place`.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn pass(_place: Place) {}

/// True if a test wants the process to die at `place` at all: the place may then prepare for it.
#[cfg(feature = "fault-points")]
pub fn armed(place: Place) -> bool {
    armed_place() == Some(place)
}

/// Never.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn armed(_place: Place) -> bool {
    false
}

#[cfg(feature = "fault-points")]
static COUNT: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);

#[cfg(feature = "fault-points")]
fn armed_place() -> Option<Place> {
    static ARMED: std::sync::OnceLock<Option<Place>> = std::sync::OnceLock::new();
    *ARMED.get_or_init(|| {
        let wanted = std::env::var("FIFO_BRIDGE_FAULT").ok()?;
        let (name, count) = wanted.split_once(':')?;
        COUNT.store(count.parse().ok()?, std::sync::atomic::Ordering::Relaxed);
        Place::ALL.into_iter().find(|place| place.name() == name)
    })
}
