//! What the drainer does after a panic of its own. A plain value.

use std::any::Any;

use crate::journal::Lsn;

/// Where a panic happened: what was released by then, and the first frame that was being worked on.
pub(super) type Site = (Lsn, Option<Lsn>);

/// What to do after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Begin anew, with nothing of what was known before.
    StartOver,
    /// It was the same frames again: a person is needed.
    StandStill,
}

/// Panics so far.
#[derive(Debug, Default)]
pub(super) struct Mishaps {
    last: Option<Site>,
    pub count: u32,
}

impl Mishaps {
    /// It happened again.
    pub fn next(&mut self, site: Site) -> Next {
        self.count += 1;
        if self.last.replace(site) == Some(site) { Next::StandStill } else { Next::StartOver }
    }

    /// A person has looked at it.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

/// What a panic says.
pub(super) fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_place_twice_is_too_much() {
        let mut mishaps = Mishaps::default();
        let (here, there) = ((Lsn(4), Some(Lsn(5))), (Lsn(9), Some(Lsn(10))));
        assert_eq!([here, there, here].map(|site| mishaps.next(site)), [Next::StartOver; 3]);
        assert_eq!(mishaps.next(here), Next::StandStill);
        mishaps.forget();
        assert_eq!(mishaps.next(here), Next::StartOver);
        assert_eq!(mishaps.count, 5);
    }

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let caught = |result: std::thread::Result<()>| text(result.expect_err("it panics").as_ref()).to_owned();
        assert_eq!(caught(std::panic::catch_unwind(|| panic!("plain"))), "plain");
        assert_eq!(caught(std::panic::catch_unwind(|| panic!("number {}", 7))), "number 7");
        assert_eq!(caught(std::panic::catch_unwind(|| std::panic::panic_any(7))), "a panic without words");
    }
}
