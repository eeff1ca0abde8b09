//! Named places at which a test may kill the program.
//!
//! With the feature `fault-points` the environment variable `OMRUST_PROG_FAULT=NAME:COUNT` ends each life by SIGKILL at the `COUNT`th
//! passage of NAME; `NAME:COUNT:FILE` ends only the one that can make FILE. Without the feature a place costs nothing.

/// A step behind which a kill has to be harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say where they stand")]
pub enum Place {
    BeforeNote,
    AfterNote,
    BeforeDefer,
    AfterDefer,
    BeforeSettle,
    AfterSettle,
    BeforeOk,
    AfterOk,
    AfterBegin,
    BeforeReady,
}

impl Place {
    /// All places, for tests that walk through them.
    pub const ALL: [Self; 10] = [
        Self::BeforeNote,
        Self::AfterNote,
        Self::BeforeDefer,
        Self::AfterDefer,
        Self::BeforeSettle,
        Self::AfterSettle,
        Self::BeforeOk,
        Self::AfterOk,
        Self::AfterBegin,
        Self::BeforeReady,
    ];

    /// The name that the environment variable uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeNote => "before-note",
            Self::AfterNote => "after-note",
            Self::BeforeDefer => "before-defer",
            Self::AfterDefer => "after-defer",
            Self::BeforeSettle => "before-settle",
            Self::AfterSettle => "after-settle",
            Self::BeforeOk => "before-ok",
            Self::AfterOk => "after-ok",
            Self::AfterBegin => "after-begin",
            Self::BeforeReady => "before-ready",
        }
    }
}

/// Passes `place`; may not return.
#[cfg(feature = "fault-points")]
pub fn pass(place: Place) {
    use std::sync::atomic::{AtomicI64, Ordering};
    static LEFT: AtomicI64 = AtomicI64::new(0);
    static ARMED: std::sync::OnceLock<Option<(Place, Option<String>)>> = std::sync::OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let wanted = std::env::var("OMRUST_PROG_FAULT").ok()?;
        let mut words = wanted.splitn(3, ':');
        let (name, count) = (words.next()?, words.next()?);
        LEFT.store(count.parse().ok()?, Ordering::Relaxed);
        let place = Place::ALL.into_iter().find(|place| place.name() == name)?;
        Some((place, words.next().map(str::to_owned)))
    });
    let Some((_, file)) = armed.as_ref().filter(|(armed, _)| *armed == place) else { return };
    if LEFT.fetch_sub(1, Ordering::Relaxed) != 1 {
        return;
    }
    if file.as_ref().is_none_or(|file| std::fs::File::create_new(file).is_ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
}

/// Passes `place`.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn pass(_place: Place) {}
