//! How a worker behaves while rsyslogd ends. A plain value.
//!
//! rsyslogd gives the workers of a queue `queue.timeoutShutdown` (1.5 s for a ruleset's) to bring it away. When that is over it first
//! interrupts the sleep of those whose action is suspended, and tells them to end half a millisecond later, with a second signal. Whoever
//! asks Redis in between misses that signal and sleeps on, until `queue.timeoutActionCompletion` (1 s) is over as well. So once Redis
//! was asked in vain, the next question is answered at once. (Up to 8.2604 that helps a batch of one message only: others are handed in
//! again and again for all of that second.)

use std::time::{Duration, Instant};

/// What is under way when rsyslogd begins to end may go on for so long, and so may its queue.
const GRACE: Duration = Duration::from_millis(700);
/// How long a call may wait for Redis behind that.
const LAST: Duration = Duration::from_millis(300);
/// Redis is not asked again for so long after it was asked in vain.
const SILENCE: Duration = Duration::from_secs(2);
/// A sign that may mean something else means nothing any more after this time.
const LAPSE: Duration = Duration::from_secs(10);
/// rsyslogd sleeps for a second at least until it asks again whether an action can be resumed.
const SLEEP: Duration = Duration::from_millis(900);

/// What one worker knows of rsyslogd's end.
#[derive(Debug, Default)]
pub struct Ending {
    begun: Option<Instant>,
    certain: bool,
    /// When the answer to rsyslogd was last "no".
    vain: Option<Instant>,
    /// When rsyslogd was last told that the action cannot be resumed, if it has not handed in anything since.
    put_off: Option<Instant>,
}

impl Ending {
    /// rsyslogd says that it ends.
    pub fn told(&mut self, now: Instant) {
        if !self.certain {
            *self = Self { begun: Some(now), certain: true, ..*self };
        }
    }

    /// A wait was interrupted by a signal. rsyslogd sends its workers none but those of its end; a debugger may.
    pub fn signalled(&mut self, now: Instant) {
        if !self.has_begun(now) {
            self.begun = Some(now);
        }
    }

    /// rsyslogd asks whether the action can be resumed. Sooner than it can without a signal, it ends.
    pub fn asked(&mut self, now: Instant) {
        if self.put_off.is_some_and(|when| now.saturating_duration_since(when) < SLEEP) {
            self.signalled(now);
        }
    }

    /// rsyslogd hands something in.
    pub fn handed_in(&mut self) {
        self.put_off = None;
    }

    /// The answer is "no"; `resume` to the question whether the action can be resumed.
    pub fn denied(&mut self, now: Instant, resume: bool) {
        self.vain = Some(now);
        self.put_off = resume.then_some(now);
    }

    /// True if Redis is to be asked nothing now: it was, since rsyslogd ends.
    pub fn is_vain(&self, now: Instant) -> bool {
        let Some((begun, vain)) = self.begun.filter(|_| self.has_begun(now)).zip(self.vain) else { return false };
        vain >= begun && now.saturating_duration_since(vain) < SILENCE
    }

    /// True if a call that began at `since` may not wait any longer.
    pub fn is_over(&self, since: Instant, now: Instant) -> bool {
        let ends = self.begun.filter(|_| self.has_begun(now));
        ends.is_some_and(|begun| now.saturating_duration_since(begun) >= GRACE)
            && now.saturating_duration_since(since) >= LAST
    }

    fn has_begun(&self, now: Instant) -> bool {
        self.begun.is_some_and(|begun| self.certain || now.saturating_duration_since(begun) < LAPSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn nothing_is_cut_short_while_rsyslogd_lives() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        ending.denied(now, true);
        ending.asked(now + ms(1_000));
        ending.denied(now + ms(1_000), true);
        // A batch that is handed in and turned away in between is no sign of anything.
        ending.handed_in();
        ending.denied(now + ms(1_100), false);
        ending.asked(now + ms(1_101));
        assert!(!ending.is_vain(now + ms(1_101)));
        assert!(!ending.is_over(now, now + ms(60_000)));
    }

    #[test]
    fn what_is_under_way_has_a_moment_and_redis_is_asked_once() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        ending.denied(now, true);
        ending.told(now + ms(100));
        ending.told(now + ms(400));
        assert!(!ending.is_vain(now + ms(100)), "it was not asked since");
        assert!(!ending.is_over(now, now + ms(799)));
        assert!(ending.is_over(now, now + ms(800)));
        assert!(!ending.is_over(now + ms(1_000), now + ms(1_299)), "a later call has a moment, too");
        assert!(ending.is_over(now + ms(1_000), now + ms(1_300)));
        ending.denied(now + ms(800), true);
        assert!(ending.is_vain(now + ms(1_500)));
        assert!(!ending.is_vain(now + ms(2_800)), "a queue that may take longer is brought away if Redis comes back");
    }

    #[test]
    fn a_signal_is_a_sign_for_a_while() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        ending.signalled(now);
        ending.denied(now + ms(700), true);
        assert!(ending.is_over(now, now + ms(700)) && ending.is_vain(now + ms(1_500)));
        assert!(!ending.is_over(now, now + ms(10_000)), "it meant something else");
        ending.signalled(now + ms(20_000));
        assert!(ending.is_over(now, now + ms(20_700)));
    }

    #[test]
    fn a_sleep_that_was_too_short_is_a_sign() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        ending.denied(now, true);
        ending.asked(now + ms(400));
        assert!(!ending.is_vain(now + ms(400)), "Redis is asked once more");
        assert!(ending.is_over(now + ms(400), now + ms(1_100)));
        ending.denied(now + ms(1_100), true);
        assert!(ending.is_vain(now + ms(1_500)));
    }
}
