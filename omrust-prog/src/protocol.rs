//! The conversation with rsyslog's omprog. A plain value: lines in, what to do and what to answer out.
//!
//! One rule keeps it sound: **whoever is told OK has nothing left with us that is not safe.** rsyslog takes OK to anything, a
//! message too, as "all before this is done", and hands nothing of it in again. Therefore a mark that comes unexpectedly
//! (a sender may write one into a message, several workers may share one program) makes everything safe before it is answered.
//!
//! Inside a transaction nothing but `DEFER_COMMIT` is ever answered: after an error in its middle rsyslog goes on behind the messages
//! that it has been told `DEFER_COMMIT` for, and never hands them in again. For the same reason they are kept whatever happens.

/// What a line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Answer at once.
    Answer(Answer),
    /// Keep the line as a record; then answer.
    Keep(Answer),
    /// Keep the line as a record and make everything safe; then ask [`Protocol::settled`].
    KeepAndSettle,
    /// Make everything safe; then ask [`Protocol::settled`].
    Settle,
}

/// What rsyslog is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Everything so far is safe.
    Ok,
    /// Kept, and to be made safe with the transaction.
    Defer,
    /// Not now: hand the transaction in again.
    NotYet,
}

impl Answer {
    /// The line. Anything that omprog does not know is an error that passes.
    pub fn line(self) -> &'static [u8] {
        match self {
            Self::Ok => b"OK\n",
            Self::Defer => b"DEFER_COMMIT\n",
            Self::NotYet => b"NOT YET: redis does not take records\n",
        }
    }
}

/// The lines that begin and commit a transaction.
pub type Marks = (Vec<u8>, Vec<u8>);

/// Where the conversation stands.
#[derive(Debug, Clone)]
pub struct Protocol {
    marks: Option<Marks>,
    open: bool,
}

impl Protocol {
    /// At the start. `marks` are the lines that begin and commit a transaction; without them each line is a record.
    pub fn new(marks: Option<Marks>) -> Self {
        Self { marks, open: false }
    }

    /// The next line, without LF.
    pub fn line(&mut self, line: &[u8]) -> Step {
        match &self.marks {
            Some((begin, _)) if begin == line => {
                if std::mem::replace(&mut self.open, true) {
                    return Step::Settle;
                }
                Step::Answer(Answer::Ok)
            }
            Some((_, commit)) if commit == line => {
                self.open = false;
                Step::Settle
            }
            _ if self.open => Step::Keep(Answer::Defer),
            _ => Step::KeepAndSettle,
        }
    }

    /// What to answer now that everything is safe, or is not.
    pub fn settled(&self, safe: bool) -> Answer {
        if safe { Answer::Ok } else { Answer::NotYet }
    }

    /// True between the marks.
    pub fn is_open(&self) -> bool {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_marks() -> Protocol {
        Protocol::new(Some((b"BEGIN".into(), b"COMMIT".into())))
    }

    fn steps(protocol: &mut Protocol, lines: &[&[u8]]) -> Vec<Step> {
        lines.iter().map(|line| protocol.line(line)).collect()
    }

    #[test]
    fn a_transaction() {
        let mut protocol = with_marks();
        let keep = Step::Keep(Answer::Defer);
        assert_eq!(
            steps(&mut protocol, &[b"BEGIN", b"a", b"", b"\0\xff", b"COMMIT", b"BEGIN", b"COMMIT"]),
            [Step::Answer(Answer::Ok), keep, keep, keep, Step::Settle, Step::Answer(Answer::Ok), Step::Settle]
        );
        assert_eq!((protocol.settled(true), protocol.settled(false)), (Answer::Ok, Answer::NotYet));
    }

    #[test]
    fn a_record_outside_is_a_transaction_of_its_own() {
        let mut protocol = with_marks();
        assert_eq!(steps(&mut protocol, &[b"a", b"BEGIN ", b"begin"]), [Step::KeepAndSettle; 3]);
        let mut protocol = Protocol::new(None);
        assert_eq!(steps(&mut protocol, &[b"BEGIN", b"a", b"COMMIT"]), [Step::KeepAndSettle; 3]);
    }

    #[test]
    fn ok_inside_a_transaction_comes_only_when_all_is_safe() {
        let mut protocol = with_marks();
        // A message that reads like a mark: rsyslog takes the OK to it as a commit of what came before.
        assert_eq!(steps(&mut protocol, &[b"BEGIN", b"a", b"BEGIN"])[2], Step::Settle);
        assert!(protocol.is_open());
        assert_eq!(
            steps(&mut protocol, &[b"b", b"COMMIT", b"c", b"COMMIT"]),
            [Step::Keep(Answer::Defer), Step::Settle, Step::KeepAndSettle, Step::Settle]
        );
    }

    #[test]
    fn an_answer_is_one_line_that_is_no_keep_alive() {
        for answer in [Answer::Ok, Answer::Defer, Answer::NotYet] {
            let line = answer.line();
            assert_eq!(memchr::memchr(b'\n', line), Some(line.len() - 1));
            assert_ne!(line[0], b'.');
        }
    }
}
