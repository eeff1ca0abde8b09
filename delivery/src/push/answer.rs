//! What Redis' replies to a push mean.

use crate::error::Trouble;

/// One reply, reduced to what the push needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`, `+QUEUED` and their like.
    Status,
    /// A number.
    Number(i64),
    /// A string.
    Bytes(Vec<u8>),
    /// No value.
    Nil,
    /// Several replies.
    Many(Vec<Reply>),
    /// An error, first word and rest.
    Error {
        /// The first word.
        code: String,
        /// The rest.
        text: String,
    },
    /// Anything else.
    Other(String),
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All of it is in the list, and the cursor moved with it. The list is now this long (1 for a bare move of the cursor).
    Taken(u64),
    /// It does not continue the cursor, which has this value. Nothing of it was kept.
    Refused(Vec<u8>),
    /// Redis would not do it. Nothing of it was kept.
    Failed(Trouble),
}

/// Reads the replies to one push, in the order in which they came.
///
/// One reply answers a push without transaction; four answer MULTI, the native push, EVAL and EXEC.
pub fn answer(replies: &[Reply]) -> Answer {
    match replies {
        [only] => script(only),
        [multi, native, eval, exec] => {
            if let Some(failed) = [multi, native, eval].into_iter().find_map(error) {
                return Answer::Failed(failed);
            }
            match exec {
                Reply::Many(results) => transaction(results),
                Reply::Error { .. } => Answer::Failed(error(exec).unwrap_or_else(|| confused(exec))),
                _ => Answer::Failed(confused(exec)),
            }
        }
        _ => Answer::Failed(Trouble::Confused { text: format!("{} replies to a push", replies.len()) }),
    }
}

/// The results of the native push and of the script. The script's is the one that counts: it has seen both.
fn transaction(results: &[Reply]) -> Answer {
    match results {
        [Reply::Error { .. }, Reply::Number(_)] => {
            // The native push failed and its twin in the script did not: cannot happen in one atomic step.
            Answer::Failed(Trouble::Confused { text: format!("half a push: {results:?}") })
        }
        [Reply::Number(_) | Reply::Error { .. }, result] => match result {
            // The script itself did not run: EVAL was taken from the user between queueing and execution.
            Reply::Error { .. } => {
                Answer::Failed(Trouble::Confused { text: format!("a push without its compare: {results:?}") })
            }
            _ => script(result),
        },
        _ => Answer::Failed(Trouble::Confused { text: format!("{results:?}") }),
    }
}

fn script(result: &Reply) -> Answer {
    match result {
        Reply::Number(length) => Answer::Taken(u64::try_from(*length).unwrap_or(0)),
        Reply::Many(inner) => match inner.as_slice() {
            [Reply::Bytes(cursor)] => Answer::Refused(cursor.clone()),
            [failed @ Reply::Error { .. }] => Answer::Failed(error(failed).unwrap_or_else(|| confused(failed))),
            _ => Answer::Failed(confused(result)),
        },
        Reply::Error { .. } => Answer::Failed(error(result).unwrap_or_else(|| confused(result))),
        _ => Answer::Failed(confused(result)),
    }
}

fn error(reply: &Reply) -> Option<Trouble> {
    match reply {
        Reply::Error { code, text } => {
            Some(Trouble::Answered { code: code.clone(), text: text.clone(), connecting: false })
        }
        _ => None,
    }
}

fn confused(reply: &Reply) -> Trouble {
    Trouble::Confused { text: format!("{reply:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: &str) -> Reply {
        Reply::Error { code: code.into(), text: "text".into() }
    }

    fn trouble(code: &str) -> Answer {
        Answer::Failed(Trouble::Answered { code: code.into(), text: "text".into(), connecting: false })
    }

    #[test]
    fn one_reply() {
        assert_eq!(answer(&[Reply::Number(7)]), Answer::Taken(7));
        assert_eq!(answer(&[Reply::Many(vec![Reply::Bytes(b"c".to_vec())])]), Answer::Refused(b"c".to_vec()));
        assert_eq!(answer(&[Reply::Many(vec![failed("OOM")])]), trouble("OOM"));
        assert_eq!(answer(&[failed("BUSY")]), trouble("BUSY"));
        assert!(matches!(answer(&[Reply::Nil]), Answer::Failed(Trouble::Confused { .. })));
    }

    #[test]
    fn a_transaction() {
        let ran = |results| answer(&[Reply::Status, Reply::Status, Reply::Status, Reply::Many(results)]);
        assert_eq!(ran(vec![Reply::Number(24), Reply::Number(25)]), Answer::Taken(25));
        assert_eq!(
            ran(vec![Reply::Number(24), Reply::Many(vec![Reply::Bytes(b"c".to_vec())])]),
            Answer::Refused(b"c".to_vec())
        );
        assert_eq!(ran(vec![failed("WRONGTYPE"), Reply::Many(vec![failed("WRONGTYPE")])]), trouble("WRONGTYPE"));
        assert!(matches!(ran(vec![Reply::Number(24), failed("NOPERM")]), Answer::Failed(Trouble::Confused { .. })));
        assert!(matches!(ran(vec![failed("X"), Reply::Number(1)]), Answer::Failed(Trouble::Confused { .. })));
    }

    #[test]
    fn the_first_refusal_while_queueing_is_the_reason() {
        let aborted = [Reply::Status, failed("OOM"), Reply::Status, failed("EXECABORT")];
        assert_eq!(answer(&aborted), trouble("OOM"));
        let not_begun = [failed("NOAUTH"), failed("NOAUTH"), failed("NOAUTH"), failed("NOAUTH")];
        assert_eq!(answer(&not_begun), trouble("NOAUTH"));
    }
}
