//! Where a stream stands: an epoch and an offset in it.

use std::fmt;

/// One unbroken run of a stream. Offsets mean something only within it. A later epoch is greater:
/// the upper half is the second in which it was opened. The lower half is chance, drawn once for all epochs of one spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// A new epoch, greater than `last` even if the clock went back since.
    ///
    /// `unix_seconds` is now, `chance` any random number: two machines that start in the same second
    /// must not open the same epoch. It is not used if there is a `last` one.
    pub fn after(last: Option<Self>, unix_seconds: u64, chance: u32) -> Self {
        let fresh = (unix_seconds << 32) | u64::from(last.map_or(chance, Self::family));
        match last {
            Some(Self(last)) if last >= fresh => Self(last.saturating_add(1 << 32)),
            _ => Self(fresh),
        }
    }

    /// What all epochs of one spool have in common, and those of another one, but for a rare chance, do not.
    pub fn family(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A place in a stream: everything before `offset` in `epoch`, and all earlier epochs.
///
/// Its text, `0123456789abcdef:42`, is the value of a cursor in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The run of the stream.
    pub epoch: Epoch,
    /// Bytes (pipe) or records (module) since the epoch began.
    pub offset: u64,
}

impl Position {
    /// The beginning of `epoch`.
    pub fn start(epoch: Epoch) -> Self {
        Self { epoch, offset: 0 }
    }

    /// Reads the text form. `None` if it is anything else: somebody else's value.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (epoch, offset) = text.split_once(':')?;
        let hex = epoch.len() == 16 && epoch.bytes().all(|b| b.is_ascii_hexdigit());
        let decimal = !offset.is_empty() && offset.bytes().all(|b| b.is_ascii_digit());
        if !hex || !decimal {
            return None;
        }
        Some(Self { epoch: Epoch(u64::from_str_radix(epoch, 16).ok()?), offset: offset.parse().ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let position = Position { epoch: Epoch(0xabc), offset: u64::MAX };
        assert_eq!(position.to_string(), "0000000000000abc:18446744073709551615");
        assert_eq!(Position::parse(position.to_string().as_bytes()), Some(position));
    }

    #[test]
    fn anything_else_is_not_a_position() {
        for text in [
            "",
            ":",
            "abc:1",
            "0000000000000abc:",
            "0000000000000abc:+1",
            "0000000000000abc:-1",
            "0000000000000abc:18446744073709551616",
            "000000000000+abc:1",
            "0000000000000abc:1 ",
        ] {
            assert_eq!(Position::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Position::parse(&[0xff; 20]), None);
    }

    #[test]
    fn a_later_epoch_is_greater_whatever_the_clock_says() {
        let first = Epoch::after(None, 1_000, 7);
        let second = Epoch::after(Some(first), 999, 9);
        assert!(second > first);
        assert!(Epoch::after(Some(second), 5_000, 0) > second);
    }

    #[test]
    fn all_epochs_of_a_spool_are_one_family() {
        let first = Epoch::after(None, 1_000, 7);
        let second = Epoch::after(Some(first), 2_000, 9);
        let third = Epoch::after(Some(second), 500, 9);
        assert_eq!((first.family(), second.family(), third.family()), (7, 7, 7));
    }
}
