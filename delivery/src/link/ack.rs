//! When a push counts: when Redis answers, or when replicas or the disk have it as well.
//!
//! `WAIT` and `WAITAOF` speak of what their own connection has written, and everything that was in the server before: replicas and
//! the append-only file take writes in one order. So one of them behind all pushes that are handed over in one go is enough. After a
//! new connection was made the cursor tells what Redis has, and nobody tells whether the replicas have it too. Therefore the new
//! connection writes the cursor onto itself and waits for that: [`Link::secure`].
//!
//! A wait that ends with too few is no answer but trouble: nothing counts, the connection is given up, and whoever comes back over a
//! new one, perhaps to another master, finds by the cursor what is there and waits for it again. Nothing is pushed a second time.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::Link;
use crate::error::Trouble;
use crate::push::{self, Answer, Names, Reply, answer};
use crate::wire::Patience;

/// No wait for replicas asks for longer: the server answers nothing else meanwhile.
const LONGEST: Duration = Duration::from_secs(1);

/// No wait for the disk asks for longer. With `appendfsync everysec` a sync begins a second after the last one: a wait of a second that
/// begins right behind a sync, as each does that follows the one before, would always end just too early.
const LONGEST_SYNC: Duration = Duration::from_secs(3);

/// When a push counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ack {
    /// When Redis has answered.
    #[default]
    Memory,
    /// When so many replicas have it.
    Replicas(u32),
    /// When the append-only file is on the disk.
    Aof,
}

impl FromStr for Ack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not allowed; memory, replica:N with N from 1 to 100, or aof");
        match text.trim().to_ascii_lowercase().as_str() {
            "memory" => Ok(Self::Memory),
            "aof" => Ok(Self::Aof),
            other => match other.strip_prefix("replica:").and_then(|count| count.parse().ok()) {
                Some(count @ 1..=100) => Ok(Self::Replicas(count)),
                _ => Err(wrong()),
            },
        }
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => write!(f, "memory"),
            Self::Replicas(count) => write!(f, "replica:{count}"),
            Self::Aof => write!(f, "aof"),
        }
    }
}

impl Ack {
    /// The command that waits so long.
    fn command(self, limit: Duration) -> Option<Vec<String>> {
        // 0 would be for ever.
        let limit = limit.as_millis().max(1).to_string();
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        match self {
            Self::Memory => None,
            Self::Replicas(count) => words(&["WAIT", &count.to_string(), &limit]),
            Self::Aof => words(&["WAITAOF", "1", "0", &limit]),
        }
    }

    /// No wait asks for longer.
    fn longest(self) -> Duration {
        match self {
            Self::Memory | Self::Replicas(_) => LONGEST,
            Self::Aof => LONGEST_SYNC,
        }
    }

    /// What finds out, before anything was written, whether the server and the user know the wait.
    fn probe(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Memory => None,
            Self::Replicas(_) => Some(&["WAIT", "0", "1"]),
            Self::Aof => Some(&["WAITAOF", "1", "0", "1"]),
        }
    }

    /// What the answer to [`Self::probe`] means.
    fn probed(answer: Result<Reply, Trouble>) -> Result<(), Trouble> {
        match answer {
            Ok(_) => Ok(()),
            Err(Trouble::Answered { code, text, .. }) if text.starts_with("unknown command") => {
                let text = "no WAITAOF here: ack is aof, which takes Redis 7.2 or later, or Valkey".to_owned();
                Err(Trouble::Answered { code, text, connecting: true })
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// What the answer to a wait means.
    fn confirmed(self, reply: &Reply) -> Result<(), Trouble> {
        let have = match (self, reply) {
            (_, Reply::Error { code, text }) => {
                return Err(Trouble::Answered { code: code.clone(), text: text.clone(), connecting: true });
            }
            (Self::Replicas(wanted), Reply::Number(have)) if *have >= i64::from(wanted) => return Ok(()),
            (Self::Replicas(wanted), Reply::Number(have)) => {
                format!("{have} of {wanted} replicas have confirmed what was pushed")
            }
            (Self::Aof, Reply::Many(both)) => match both.first() {
                Some(Reply::Number(1..)) => return Ok(()),
                _ => "the append-only file is not on the disk yet".into(),
            },
            (_, other) => return Err(Trouble::Confused { text: format!("a wait: {other:?}") }),
        };
        Err(Trouble::Unconfirmed { text: have })
    }
}

impl Link {
    /// True if a push does not count before a wait has confirmed it.
    pub fn waits(&self) -> bool {
        self.ack != Ack::Memory
    }

    /// Appends the wait for everything that was written before it. One reply answers it: [`Self::confirmed`].
    pub fn pack_wait(&self, out: &mut Vec<u8>, patience: Patience<'_>) {
        let left = patience.deadline.saturating_duration_since(Instant::now());
        // The answer has to come back in time.
        if let Some(command) = self.ack.command((left / 4 * 3).min(self.ack.longest())) {
            push::command(out, &command.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    /// The same, within the endpoint's time.
    pub fn pack_wait_in_time(&self, out: &mut Vec<u8>) {
        self.pack_wait(out, Patience::of(self.timeout));
    }

    /// What the answer to a wait means: everything before it counts, or nothing of it does.
    pub fn confirmed(&self, reply: &Reply) -> Result<(), Trouble> {
        self.ack.confirmed(reply)
    }

    /// Makes sure that what Redis has, up to `cursor`, counts. False if the cursor is another by now.
    ///
    /// To be asked whenever a cursor was read and what it says is to be believed.
    pub fn secure(&mut self, names: &Names, cursor: &[u8]) -> Result<bool, Trouble> {
        self.secure_within(names, cursor, Patience::of(self.timeout))
    }

    /// The same while `patience` lasts.
    pub fn secure_within(&mut self, names: &Names, cursor: &[u8], patience: Patience<'_>) -> Result<bool, Trouble> {
        let Ok(text) = std::str::from_utf8(cursor) else { return Ok(true) };
        if !self.waits() || cursor.is_empty() {
            return Ok(true);
        }
        let mut packed = Vec::new();
        push::advance(&mut packed, names, (cursor, text));
        self.pack_wait(&mut packed, patience);
        self.send_within(&packed, patience)?;
        let (moved, wait) = (self.receive_within(patience)?, self.receive_within(patience)?);
        match answer(&[moved]) {
            Answer::Taken(_) => self.confirmed(&wait).map(|()| true),
            Answer::Refused(_) => Ok(false),
            Answer::Failed(trouble) => Err(trouble),
        }
    }

    /// Right after the login: does the server know the wait, and may this user ask for it?
    pub(super) fn probe_wait(&mut self, patience: Patience<'_>) -> Result<(), Trouble> {
        match self.ack.probe() {
            Some(words) => Ack::probed(self.ask_within(words, patience)),
            None => Ok(()),
        }
    }
}

/// Pushes of one connection that were answered, and the waits that will confirm them, in the order of the replies.
#[derive(Debug)]
pub struct Unconfirmed<T> {
    /// How many pushes stand before each wait.
    groups: VecDeque<usize>,
    /// Those of the first group that were answered.
    answered: Vec<T>,
}

impl<T> Default for Unconfirmed<T> {
    fn default() -> Self {
        Self { groups: VecDeque::new(), answered: Vec::new() }
    }
}

impl<T> Unconfirmed<T> {
    /// A wait was sent. `under_way` pushes were sent and are not confirmed.
    pub fn waits(&mut self, under_way: usize) {
        let before: usize = self.groups.iter().sum();
        self.groups.push_back(under_way.saturating_sub(before));
    }

    /// The next push was answered.
    pub fn answered(&mut self, push: T) {
        self.answered.push(push);
    }

    /// True if the next reply is that to a wait.
    pub fn is_due(&self) -> bool {
        self.groups.front().is_some_and(|count| *count == self.answered.len())
    }

    /// The wait was answered with enough: these count now.
    pub fn confirmed(&mut self) -> Vec<T> {
        self.groups.pop_front();
        std::mem::take(&mut self.answered)
    }

    /// Pushes that were answered and not confirmed.
    pub fn len(&self) -> usize {
        self.answered.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.answered.is_empty()
    }

    /// The connection is gone.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.answered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_setting() {
        for (text, ack) in [
            ("memory", Ack::Memory),
            (" AOF ", Ack::Aof),
            ("replica:1", Ack::Replicas(1)),
            ("replica:12", Ack::Replicas(12)),
        ] {
            assert_eq!(text.parse(), Ok(ack));
            assert_eq!(ack.to_string().parse(), Ok(ack));
        }
        for text in ["", "replica", "replica:", "replica:0", "replica:-1", "replica:101", "disk"] {
            assert!(text.parse::<Ack>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_wait_is_for_ever() {
        let words = |ack: Ack, limit| ack.command(limit).map(|words| words.join(" "));
        assert_eq!(words(Ack::Memory, LONGEST), None);
        assert_eq!(words(Ack::Replicas(2), Duration::ZERO).as_deref(), Some("WAIT 2 1"));
        assert_eq!(words(Ack::Aof, LONGEST).as_deref(), Some("WAITAOF 1 0 1000"));
        assert!(Ack::Aof.longest() > Duration::from_millis(1_500), "a sync a second takes longer than a second");
    }

    #[test]
    fn only_enough_is_enough() {
        let one = |have| Ack::Replicas(2).confirmed(&Reply::Number(have));
        assert_eq!((one(2), one(3)), (Ok(()), Ok(())));
        assert!(matches!(one(1), Err(Trouble::Unconfirmed { .. })));
        let aof = |local| Ack::Aof.confirmed(&Reply::Many(vec![Reply::Number(local), Reply::Number(7)]));
        assert_eq!(aof(1), Ok(()));
        assert!(matches!(aof(0), Err(Trouble::Unconfirmed { .. })));
        let unblocked = Reply::Error { code: "UNBLOCKED".into(), text: "instance state changed".into() };
        let trouble = Ack::Replicas(1).confirmed(&unblocked).expect_err("no answer");
        assert!(trouble.is_demotion());
        assert!(matches!(Ack::Aof.confirmed(&Reply::Number(1)), Err(Trouble::Confused { .. })));
    }

    #[test]
    fn a_server_without_the_wait_is_told_in_words() {
        let answered = |text: &str| Err(Trouble::Answered { code: "ERR".into(), text: text.into(), connecting: true });
        let told = Ack::probed(answered("unknown command 'WAITAOF', with args beginning with: '1'")).expect_err("none");
        assert!(told.to_string().contains("Redis 7.2"), "{told}");
        let told = Ack::probed(answered("WAITAOF cannot be used when appendonly is disabled.")).expect_err("none");
        assert!(told.to_string().contains("appendonly"), "{told}");
    }

    #[test]
    fn pushes_count_when_the_wait_behind_them_is_answered() {
        let mut pushes = Unconfirmed::default();
        assert!(!pushes.is_due());
        pushes.waits(2);
        pushes.waits(3);
        pushes.answered('a');
        assert!(!pushes.is_due());
        pushes.answered('b');
        assert!(pushes.is_due() && pushes.len() == 2);
        assert_eq!(pushes.confirmed(), ['a', 'b']);
        assert!(!pushes.is_due() && pushes.is_empty());
        pushes.answered('c');
        assert!(pushes.is_due());
        assert_eq!(pushes.confirmed(), ['c']);
        pushes.waits(1);
        pushes.answered('d');
        assert!(pushes.is_due());
        pushes.clear();
        assert!(!pushes.is_due());
    }
}
