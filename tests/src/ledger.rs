//! The verdict from the records themselves: lost, doubled, misordered, foreign.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::ops::Range;

use crate::pipe::{Numbered, parse};

/// So many offenders of each kind are named.
const NAMED: usize = 5;

/// What was sent, and which of it was found. Several lanes (runs) may be in one list; each has an order of its own.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    runs: BTreeMap<String, Run>,
    exact: Option<Exact>,
    doubled: Fault,
    misordered: Fault,
    foreign: Fault,
    found: u64,
}

#[derive(Clone, Debug)]
struct Run {
    numbers: Range<u64>,
    /// The whole element is compared, not only its number.
    bytes: Option<Numbered>,
    seen: Vec<bool>,
    highest: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Exact {
    sent: Vec<Vec<u8>>,
    /// Where each element stands in `sent` and was not found yet.
    missing: HashMap<Vec<u8>, VecDeque<usize>>,
    highest: Option<usize>,
}

/// One kind of fault: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// How many.
    pub count: u64,
    /// The first few, for people.
    pub first: Vec<String>,
}

impl Fault {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(what());
        }
    }
}

/// What a [`Ledger`] says in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records sent.
    pub sent: u64,
    /// Elements found.
    pub found: u64,
    /// Sent and not found.
    pub lost: Fault,
    /// Found more often than sent.
    pub doubled: Fault,
    /// Found after one that was sent later.
    pub misordered: Fault,
    /// Never sent like this.
    pub foreign: Fault,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// These records of `records` were sent, in this order; each element must be the same to the byte.
    #[must_use]
    pub fn sent(self, records: &Numbered, numbers: Range<u64>) -> Self {
        self.add(records.run(), numbers, Some(records.clone()))
    }

    /// These numbers of a run were sent, in this order. Header and padding may be anything (rsyslog writes its own time).
    #[must_use]
    pub fn sent_numbers(self, run: &str, numbers: Range<u64>) -> Self {
        self.add(run, numbers, None)
    }

    fn add(mut self, run: &str, numbers: Range<u64>, bytes: Option<Numbered>) -> Self {
        let count = usize::try_from(numbers.end.saturating_sub(numbers.start)).expect("so many fit");
        let run_of = Run { numbers, bytes, seen: vec![false; count], highest: None };
        assert!(self.runs.insert(run.to_owned(), run_of).is_none(), "the run {run} is in the ledger already");
        self
    }

    /// These elements (without LF) were sent in this order, equal ones among them perhaps.
    #[must_use]
    pub fn sent_exactly<E: AsRef<[u8]>>(mut self, elements: impl IntoIterator<Item = E>) -> Self {
        let exact = self.exact.get_or_insert_default();
        for element in elements {
            let element = element.as_ref().to_vec();
            exact.missing.entry(element.clone()).or_default().push_back(exact.sent.len());
            exact.sent.push(element);
        }
        self
    }

    /// Enters the next element of the list.
    pub fn found(&mut self, element: &[u8]) {
        self.found += 1;
        if let Some(exact) = &mut self.exact
            && let Some(missing) = exact.missing.get_mut(element)
        {
            let Some(place) = missing.pop_front() else {
                return self.doubled.add(|| show(element));
            };
            if exact.highest.is_some_and(|highest| place < highest) {
                let after = exact.highest.map(|highest| show(&exact.sent[highest])).unwrap_or_default();
                self.misordered.add(|| format!("{} after {after}", show(element)));
            }
            exact.highest = exact.highest.max(Some(place));
            return;
        }
        let Some((name, n)) = parse(element) else {
            return self.foreign.add(|| show(element));
        };
        let Some(run) = self.runs.get_mut(name).filter(|run| run.numbers.contains(&n)) else {
            return self.foreign.add(|| show(element));
        };
        if run.bytes.as_ref().is_some_and(|records| records.element(n) != element) {
            return self.foreign.add(|| format!("{name} {n} with other bytes: {}", show(element)));
        }
        let seen = &mut run.seen[(n - run.numbers.start) as usize];
        if *seen {
            return self.doubled.add(|| format!("{name} {n}"));
        }
        *seen = true;
        if let Some(highest) = run.highest.filter(|&highest| n < highest) {
            self.misordered.add(|| format!("{name} {n} after {highest}"));
        }
        run.highest = run.highest.max(Some(n));
    }

    /// The verdict over what was entered so far.
    pub fn verdict(&self) -> Verdict {
        let mut lost = Fault::default();
        let mut sent = 0;
        for (name, run) in &self.runs {
            sent += run.seen.len() as u64;
            for (n, _) in run.numbers.clone().zip(&run.seen).filter(|(_, seen)| !**seen) {
                lost.add(|| format!("{name} {n}"));
            }
        }
        if let Some(exact) = &self.exact {
            sent += exact.sent.len() as u64;
            let mut places: Vec<usize> = exact.missing.values().flatten().copied().collect();
            places.sort_unstable();
            for place in places {
                lost.add(|| show(&exact.sent[place]));
            }
        }
        Verdict {
            sent,
            found: self.found,
            lost,
            doubled: self.doubled.clone(),
            misordered: self.misordered.clone(),
            foreign: self.foreign.clone(),
        }
    }

    /// The verdict over a whole list.
    pub fn judge<E: AsRef<[u8]>>(mut self, elements: impl IntoIterator<Item = E>) -> Verdict {
        for element in elements {
            self.found(element.as_ref());
        }
        self.verdict()
    }
}

impl Verdict {
    /// Nothing lost, doubled, misordered or foreign.
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.doubled, &self.misordered, &self.foreign].iter().all(|fault| fault.count == 0)
    }

    /// Panics with the first offenders unless everything is right.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "the records are not all right: {self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent {}, found {}", self.sent, self.found)?;
        let faults = [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("misordered", &self.misordered),
            ("foreign", &self.foreign),
        ];
        for (name, fault) in faults {
            write!(f, ", {name} {}", fault.count)?;
            if fault.count > 0 {
                let more = if fault.count > fault.first.len() as u64 { ", ..." } else { "" };
                write!(f, " ({}{more})", fault.first.join(", "))?;
            }
        }
        Ok(())
    }
}

/// The beginning of an element, readable.
fn show(element: &[u8]) -> String {
    let head = &element[..element.len().min(80)];
    let more = if head.len() < element.len() { format!("... ({} bytes)", element.len()) } else { String::new() };
    format!("\"{}\"{more}", head.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered() -> Numbered {
        Numbered::new("run", 60)
    }

    fn judge(numbers: &[u64]) -> Verdict {
        Ledger::new().sent(&numbered(), 0..5).judge(numbers.iter().map(|&n| numbered().element(n)))
    }

    fn counts(verdict: &Verdict) -> [u64; 4] {
        [verdict.lost.count, verdict.doubled.count, verdict.misordered.count, verdict.foreign.count]
    }

    #[test]
    fn all_in_order_is_clean() {
        let verdict = judge(&[0, 1, 2, 3, 4]);
        verdict.assert_clean();
        assert_eq!((verdict.sent, verdict.found), (5, 5));
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        assert_eq!(counts(&judge(&[0, 1, 3, 4])), [1, 0, 0, 0]);
        assert_eq!(counts(&judge(&[0, 1, 2, 3, 2, 4])), [0, 1, 0, 0]);
        assert_eq!(counts(&judge(&[0, 1, 3, 4, 2])), [0, 0, 1, 0]);
        assert_eq!(counts(&judge(&[0, 1, 2, 3, 4, 5])), [0, 0, 0, 1]);
    }

    #[test]
    fn other_bytes_are_foreign_and_the_record_is_lost() {
        let mut elements: Vec<_> = (0..5).map(|n| numbered().element(n)).collect();
        elements[2].push(b'!');
        assert_eq!(counts(&Ledger::new().sent(&numbered(), 0..5).judge(&elements)), [1, 0, 0, 1]);
        assert_eq!(counts(&Ledger::new().sent_numbers("run", 0..5).judge(&elements)), [0; 4]);
        elements[2] = b"~16|6|Nov 21 10:00:00|run".to_vec(); // torn before its number
        assert_eq!(counts(&Ledger::new().sent_numbers("run", 0..5).judge(&elements)), [1, 0, 0, 1]);
    }

    #[test]
    fn two_runs_in_one_list_have_each_their_order() {
        let (a, b) = (Numbered::new("a", 50), Numbered::new("b", 50));
        let ledger = Ledger::new().sent(&a, 0..2).sent(&b, 10..12);
        ledger.clone().judge([b.element(10), a.element(0), b.element(11), a.element(1)]).assert_clean();
        assert_eq!(counts(&ledger.judge([b.element(11), a.element(0), b.element(10)])), [1, 0, 1, 0]);
    }

    #[test]
    fn exact_bytes_fail_in_the_same_four_ways() {
        let ledger = Ledger::new().sent_exactly(["a", "b", "a", "", "\0\u{7f}"]);
        ledger.clone().judge(["a", "b", "a", "", "\0\u{7f}"]).assert_clean();
        assert_eq!(counts(&ledger.clone().judge(["a", "b", "", "\0\u{7f}"])), [1, 0, 0, 0]);
        assert_eq!(counts(&ledger.clone().judge(["a", "b", "a", "a", "", "\0\u{7f}"])), [0, 1, 0, 0]);
        assert_eq!(counts(&ledger.clone().judge(["a", "b", "", "a", "\0\u{7f}"])), [0, 0, 1, 0]);
        assert_eq!(counts(&ledger.judge(["a", "b", "a", "", "\0\u{7f}", "c"])), [0, 0, 0, 1]);
    }

    #[test]
    #[should_panic(expected = "lost 2 (run 3, run 4)")]
    fn the_message_names_the_first_offenders() {
        judge(&[0, 1, 2]).assert_clean();
    }
}
