//! What Redis' replies to a push mean.

use super::reply::Reply;
use crate::error::Trouble;

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
        // MULTI was refused and what should have been queued has run, each by itself. Nobody can tell what is in the list now.
        [Reply::Error { .. }, native, eval, _] if [native, eval].iter().any(|reply| ran(reply)) => {
            Answer::Failed(Trouble::Confused { text: format!("a push without its transaction: {replies:?}") })
        }
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

/// Reads the replies to a [`rehearsal`](super::rehearsal): what a push lacks on this connection, if anything.
///
/// A list of another type is no reason: the push itself will tell, and for this list only.
pub fn rehearsed(replies: &[Reply]) -> Result<(), Trouble> {
    without(replies, "WRONGTYPE")
}

/// The same for this list in particular: its type is a reason, too.
pub fn rehearsed_for_list(replies: &[Reply]) -> Result<(), Trouble> {
    without(replies, "")
}

/// The first error but those with this code.
fn without(replies: &[Reply], harmless: &str) -> Result<(), Trouble> {
    let failed = |reply: &Reply| match error(reply)? {
        Trouble::Answered { code, .. } if code == harmless => None,
        Trouble::Answered { code, text, .. } => Some(Trouble::Answered { code, text, connecting: true }),
        other => Some(other),
    };
    if let Some(trouble) = replies.iter().find_map(failed) {
        return Err(trouble);
    }
    match replies {
        // Of a stream: XLEN and an XADD whose ID cannot be.
        [Reply::Many(both)] => both
            .iter()
            .find_map(|reply| failed(reply).and_then(|trouble| of_a_stream(trouble, harmless)))
            .map_or(Ok(()), Err),
        [_, _, Reply::Many(results)] => match results.as_slice() {
            [Reply::Many(inner)] => inner.iter().find_map(failed).map_or(Ok(()), Err),
            [failure] => Err(failed(failure).unwrap_or_else(|| confused(failure))),
            _ => Err(Trouble::Confused { text: format!("{results:?}") }),
        },
        _ => Err(Trouble::Confused { text: format!("a rehearsal: {replies:?}") }),
    }
}

/// What keeps a server, or this user of it, from filling a stream. `None` if nothing does.
///
/// Too little memory is nothing that a connection lacks: the push says it. Whoever asks whether a push would be taken has to hear it.
fn of_a_stream(trouble: Trouble, harmless: &str) -> Option<Trouble> {
    match &trouble {
        Trouble::Answered { code, .. } if code == "OOM" && !harmless.is_empty() => None,
        Trouble::Answered { text, .. } if text.contains("Invalid stream ID") => None,
        Trouble::Answered { code, text, .. } if format!("{code} {text}").contains("Unknown Redis command") => {
            let text = "this server knows no XADD or XLEN; a stream needs Redis 5 or later".into();
            Some(Trouble::Answered { code: "ERR".into(), text, connecting: true })
        }
        _ => Some(trouble),
    }
}

/// A record is larger than Redis' `proto-max-bulk-len`: it says so in answer to the push that held it, reads no further and closes the
/// connection.
pub fn is_too_large(reply: &Reply) -> bool {
    matches!(reply, Reply::Error { text, .. } if text.contains("Protocol error: invalid bulk length"))
}

/// The same as a trouble.
pub fn too_large() -> Trouble {
    Trouble::Answered {
        code: "ERR".into(),
        text: "the record is larger than redis' proto-max-bulk-len".into(),
        connecting: false,
    }
}

/// Reads the reply to a question for the length of a list. One of another type, or that may not be read, counts as empty: the push
/// will say it, and for this list only.
pub fn length(reply: &Reply) -> Result<u64, Trouble> {
    match reply {
        Reply::Number(length) => Ok(u64::try_from(*length).unwrap_or(0)),
        Reply::Error { code, text } if code == "WRONGTYPE" || code == "NOPERM" && text.contains(" key") => Ok(0),
        Reply::Error { code, text } => {
            Err(Trouble::Answered { code: code.clone(), text: text.clone(), connecting: true })
        }
        _ => Err(confused(reply)),
    }
}

/// The results of the native push and of the script. The script's is the one that counts: it has seen both.
fn transaction(results: &[Reply]) -> Answer {
    match results {
        // The native push failed and its twin in the script did not: cannot happen in one atomic step.
        [Reply::Error { .. }, Reply::Number(_)] => {
            Answer::Failed(Trouble::Confused { text: format!("half a push: {results:?}") })
        }
        // Neither ran: both were taken from the user between queueing and execution.
        [failed @ Reply::Error { .. }, Reply::Error { .. }] => {
            Answer::Failed(error(failed).unwrap_or_else(|| confused(failed)))
        }
        // The script alone did not run.
        [Reply::Number(_), Reply::Error { .. }] => {
            Answer::Failed(Trouble::Confused { text: format!("a push without its compare: {results:?}") })
        }
        [Reply::Number(_) | Reply::Error { .. }, result] => script(result),
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
        // Our own word for entries of a refused push that could not be taken out of the stream again.
        Reply::Error { code, text } if code == "HALF" => {
            Answer::Failed(Trouble::Confused { text: format!("half a push: {text}") })
        }
        Reply::Error { .. } => Answer::Failed(error(result).unwrap_or_else(|| confused(result))),
        _ => Answer::Failed(confused(result)),
    }
}

/// True for what a command answers and queueing does not.
fn ran(reply: &Reply) -> bool {
    !matches!(reply, Reply::Status | Reply::Error { .. })
}

fn error(reply: &Reply) -> Option<Trouble> {
    match reply {
        Reply::Error { code, text } => {
            let (code, text) = reason(code, text);
            Some(Trouble::Answered { code, text, connecting: false })
        }
        _ => None,
    }
}

/// What Redis meant, where it puts other words in front.
fn reason(code: &str, text: &str) -> (String, String) {
    let whole = format!("{code} {text}");
    let mut said = whole.trim_end();
    // EXEC itself was refused; the commands before it had been queued.
    said = said.strip_prefix("EXECABORT Transaction discarded because of: ").unwrap_or(said);
    // Before Redis 7 a script's errors begin with the place in the script, and some with the sign of an error.
    if let Some((_, behind)) = said.strip_prefix("@user_script: ").and_then(|said| said.split_once(": ")) {
        said = behind.trim_start_matches('-');
    }
    // Missing permissions within a script, in the words of Redis 6, of 7.0 and of later ones.
    let plain = said.strip_prefix("ERR ").unwrap_or(said);
    if ["The user executing the script can't ", "ACL failure in script"].iter().any(|words| plain.starts_with(words)) {
        return ("NOPERM".into(), plain.into());
    }
    let (code, text) = said.split_once(' ').unwrap_or((said, ""));
    (code.into(), text.into())
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
    fn a_push_that_stays_in_part_asks_for_a_person() {
        let half = answer(&[failed("HALF")]);
        assert!(matches!(half, Answer::Failed(Trouble::Confused { .. })), "{half:?}");
    }

    #[test]
    fn a_stream_is_rehearsed_with_an_id_that_cannot_be() {
        let error = |code: &str, text: &str| Reply::Error { code: code.into(), text: text.into() };
        let rehearsed = |length, added| rehearsed(&[Reply::Many(vec![length, added])]);
        let impossible = || error("ERR", "Invalid stream ID specified as stream command argument");
        assert_eq!(rehearsed(Reply::Number(3), impossible()), Ok(()));
        assert_eq!(rehearsed(failed("WRONGTYPE"), impossible()), Ok(()));
        assert_eq!(rehearsed(Reply::Number(0), failed("OOM")), Ok(()));
        let told = rehearsed_for_list(&[Reply::Many(vec![Reply::Number(0), failed("OOM")])]);
        assert_eq!(told.expect_err("a push would not be taken").class(), "OOM");
        let missing = "Unknown Redis command called from script script: 7";
        for (length, added, wanted) in [
            (failed("NOPERM"), impossible(), "NOPERM text"),
            (Reply::Number(0), failed("NOPERM"), "NOPERM text"),
            (Reply::Number(0), failed("READONLY"), "READONLY text"),
            (error("ERR", missing), error("ERR", missing), "Redis 5 or later"),
            (
                error("@user_script:", "2: Unknown Redis command called from Lua script"),
                impossible(),
                "Redis 5 or later",
            ),
        ] {
            let told = rehearsed(length, added).expect_err(wanted).to_string();
            assert!(told.contains(wanted), "{told}");
        }
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
        assert_eq!(ran(vec![failed("NOPERM"), failed("NOPERM")]), trouble("NOPERM"));
        assert!(matches!(ran(vec![failed("X"), Reply::Number(1)]), Answer::Failed(Trouble::Confused { .. })));
    }

    #[test]
    fn the_first_refusal_while_queueing_is_the_reason() {
        let aborted = [Reply::Status, failed("OOM"), Reply::Status, failed("EXECABORT")];
        assert_eq!(answer(&aborted), trouble("OOM"));
        let not_begun = [failed("NOAUTH"), failed("NOAUTH"), failed("NOAUTH"), failed("NOAUTH")];
        assert_eq!(answer(&not_begun), trouble("NOAUTH"));
    }

    #[test]
    fn what_ran_outside_of_its_transaction_is_no_clean_failure() {
        let no = || failed("NOPERM");
        for (native, eval) in [(Reply::Number(24), Reply::Number(25)), (Reply::Number(24), no())] {
            let answer = answer(&[no(), native, eval, failed("ERR")]);
            assert!(matches!(answer, Answer::Failed(Trouble::Confused { .. })), "{answer:?}");
        }
    }

    #[test]
    fn the_reason_is_found_behind_the_word_that_redis_puts_in_front() {
        for (code, text, wanted) in [
            ("EXECABORT", "Transaction discarded because of: OOM command not allowed", "OOM"),
            ("EXECABORT", "Transaction discarded because of previous errors.", "EXECABORT"),
            ("ERR", "The user executing the script can't run this command or subcommand", "NOPERM"),
            ("ERR", "ACL failure in script: User x has no permissions to run the 'rpush' command", "NOPERM"),
            ("@user_script:", "2: -OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
            ("@user_script:", "3: The user executing the script can't run this command or subcommand", "NOPERM"),
            ("@user_script:", "3: WRONGTYPE Operation against a key", "WRONGTYPE"),
            ("ERR", "something else", "ERR"),
            ("BUSY", "", "BUSY"),
        ] {
            assert_eq!(reason(code, text).0, wanted, "{code} {text}");
        }
    }
}
