//! Whether to look for an answer for a moment before sleeping until it comes. A plain value.
//!
//! Waking two processes takes longer than a small push does. Whoever asks one question after the other, each as soon as the last is
//! answered, gets the next answer sooner by looking. Looking in vain costs a processor, so it is tried less and less often where answers take
//! longer, and never after a pause.

use std::time::{Duration, Instant};

/// How long to look.
pub const LOOK: Duration = Duration::from_micros(200);
/// A question that follows an answer sooner is one of many.
const GAP: Duration = Duration::from_micros(500);
/// After looking in vain again and again so many questions go by until the next attempt.
const SKIP_MAX: u32 = 1024;
/// So many attempts in a row have to find something until they are made more often again.
const TRUST: u32 = 8;

/// What one connection has seen.
#[derive(Debug, Default)]
pub struct Eager {
    answered: Option<Instant>,
    /// The last question was one of many.
    busy: bool,
    /// Questions to go by.
    skip: u32,
    /// How many go by after the next attempt in vain.
    penalty: u32,
    /// Attempts in a row that were not in vain.
    finds: u32,
}

impl Eager {
    /// A question is sent.
    pub fn asked(&mut self, now: Instant) {
        self.busy = self.answered.take().is_some_and(|when| now.saturating_duration_since(when) < GAP);
    }

    /// An answer is about to be waited for: true if it is worth looking for it.
    pub fn look(&mut self) -> bool {
        if !std::mem::take(&mut self.busy) {
            return false;
        }
        let due = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        due
    }

    /// It was looked for, and was there after so long, or was not. On a machine that has other work a look may take longer than [`LOOK`].
    pub fn looked(&mut self, found: Option<Duration>) {
        if found.is_some_and(|took| took <= LOOK) {
            self.finds += 1;
            if self.finds == TRUST {
                (self.finds, self.penalty) = (0, self.penalty / 2);
            }
        } else {
            (self.finds, self.penalty) = (0, (self.penalty * 2).clamp(1, SKIP_MAX));
        }
        self.skip = self.penalty;
    }

    /// An answer came.
    pub fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(50);

    /// Questions, each so long after the answer before it, which takes so long. How many of them were looked for, and how many of these
    /// came while looking.
    fn talk(eager: &mut Eager, questions: usize, pause: Duration, takes: Duration) -> (usize, usize) {
        let (mut now, mut looks, mut finds) = (Instant::now(), 0, 0);
        for _ in 0..questions {
            eager.asked(now);
            if eager.look() {
                looks += 1;
                finds += usize::from(takes <= LOOK);
                eager.looked(Some(takes).filter(|takes| *takes <= LOOK));
            }
            now += takes;
            eager.answered(now);
            now += pause;
        }
        (looks, finds)
    }

    #[test]
    fn one_question_after_the_other_is_looked_for() {
        assert_eq!(talk(&mut Eager::default(), 100, SOON, SOON), (99, 99));
    }

    #[test]
    fn a_question_after_a_pause_is_slept_for() {
        assert_eq!(talk(&mut Eager::default(), 100, GAP, SOON), (0, 0));
    }

    #[test]
    fn answers_that_take_long_are_hardly_looked_for() {
        let mut eager = Eager::default();
        assert_eq!(talk(&mut eager, 10_000, SOON, LOOK * 2), (19, 0));
        // Redis is quick again: it is found out in time.
        let (looks, finds) = talk(&mut eager, 40_000, SOON, SOON);
        assert!(looks > 20_000 && looks == finds, "{looks} {finds}");
    }

    #[test]
    fn where_every_other_look_is_in_vain_there_are_few() {
        let (mut eager, mut looks) = (Eager::default(), 0);
        for _ in 0..1_000 {
            for takes in [LOOK * 2, SOON] {
                looks += talk(&mut eager, 1, SOON, takes).0;
            }
        }
        assert!(looks < 100, "{looks}");
    }

    #[test]
    fn one_answer_that_is_late_costs_a_few_questions() {
        let mut eager = Eager::default();
        talk(&mut eager, 10, SOON, SOON);
        assert_eq!(talk(&mut eager, 2, SOON, LOOK * 2).0, 1);
        assert!(talk(&mut eager, 100, SOON, SOON).0 >= 85);
    }

    #[test]
    fn several_answers_to_one_question_are_looked_for_once() {
        let (mut eager, now) = (Eager::default(), Instant::now());
        eager.answered(now);
        eager.asked(now + SOON);
        assert!(eager.look());
        eager.looked(Some(SOON));
        eager.answered(now + SOON * 2);
        assert!(!eager.look());
    }
}
