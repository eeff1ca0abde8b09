//! A batch of rsyslog's, as the outlet sees it.

use delivery::outlet::{Batch, Target, lane_of};

/// The rendered templates of the messages of a batch.
pub trait Texts {
    /// How many messages.
    fn messages(&self) -> usize;
    /// What template `template` of the action made of message `message`.
    fn text(&self, message: usize, template: usize) -> &[u8];
}

/// How a message finds its list. What decides is the text of the second template, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// All into one list.
    One,
    /// By the hash of a text over so many lanes.
    Lanes(u32),
    /// Into the list that a text names, if it begins with this.
    Named(String),
}

/// A list that no message may go to: it becomes a dead letter.
const NOWHERE: Target<'static> = Target::List("");

/// Lists whose names are longer are none.
const NAME_BYTES_MAX: usize = 512;

impl Route {
    fn target<'a>(&self, text: impl FnOnce() -> &'a [u8]) -> Target<'a> {
        match self {
            Self::One => Target::Main,
            Self::Lanes(lanes) => Target::Lane(lane_of(text(), *lanes)),
            Self::Named(prefix) => match std::str::from_utf8(text()) {
                Ok(name) if is_list(name, prefix) => Target::List(name),
                _ => NOWHERE,
            },
        }
    }
}

/// A sender may have a say in the name: it must not reach a cursor, which is a key beside the lists.
fn is_list(name: &str, prefix: &str) -> bool {
    name.starts_with(prefix)
        && name.len() <= NAME_BYTES_MAX
        && !name.contains(":cursor:")
        && !name.bytes().any(|byte| byte.is_ascii_control())
}

/// A batch of rsyslog's.
pub struct Messages<'a, T> {
    texts: &'a T,
    route: &'a Route,
}

impl<'a, T: Texts> Messages<'a, T> {
    /// These texts, each on its way.
    pub fn new(texts: &'a T, route: &'a Route) -> Self {
        Self { texts, route }
    }
}

impl<T: Texts> Batch for Messages<'_, T> {
    fn len(&self) -> usize {
        self.texts.messages()
    }

    fn target(&self, index: usize) -> Target<'_> {
        self.route.target(|| self.texts.text(index, 1))
    }

    fn record(&self, index: usize) -> &[u8] {
        let record = self.texts.text(index, 0);
        provoked(record);
        record
    }
}

/// With fault points a test names bytes in `OMRUST_PANIC_ON`; whoever handles a record that holds them panics.
#[cfg(feature = "fault-points")]
fn provoked(record: &[u8]) {
    static BYTES: std::sync::OnceLock<Option<Vec<u8>>> = std::sync::OnceLock::new();
    let bytes = BYTES.get_or_init(|| std::env::var("OMRUST_PANIC_ON").ok().map(String::into_bytes));
    if let Some(bytes) = bytes.as_ref().filter(|bytes| !bytes.is_empty()) {
        assert!(!record.windows(bytes.len()).any(|part| part == bytes), "provoked by a test");
    }
}

#[cfg(not(feature = "fault-points"))]
#[inline]
fn provoked(_record: &[u8]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_confined_leads_nowhere() {
        let route = Route::Named("logs:".into());
        assert_eq!(route.target(|| b"logs:web"), Target::List("logs:web"));
        let long = [b"logs:".as_slice(), &[b'x'; 600]].concat();
        let bad: [&[u8]; 6] = [b"", b"web", b"{logs:a}:cursor:h", b"logs:\xff", b"logs:\n", &long];
        for name in bad {
            assert_eq!(route.target(|| name), NOWHERE, "{}", name.escape_ascii());
        }
        let beside: &[u8] = b"logs:{a}:cursor:h";
        assert_eq!(route.target(|| beside), NOWHERE);
    }

    #[test]
    fn lanes_are_chosen_by_the_hash() {
        let route = Route::Lanes(8);
        assert_eq!(route.target(|| b"host"), Target::Lane(lane_of(b"host", 8)));
        assert_eq!(Route::One.target(|| unreachable!("no second template")), Target::Main);
    }
}
