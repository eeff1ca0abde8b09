//! What the key is: a list and which end of it, or a stream of Redis'.

use delivery::push::{Entry, Mode, Side};

use super::Values;
use super::read::contradict;
use super::values::wrong;

pub(super) fn mode(values: &Values, remarks: &mut Vec<String>, errors: &mut Vec<String>) -> Mode {
    let mode = values.text("mode", errors);
    let is = |word: &str| mode.as_deref().is_some_and(|mode| mode.eq_ignore_ascii_case(word));
    let entry = entry(values, errors);
    let side = side(values, is("queue"), remarks, errors);
    if is("stream") {
        if side == Side::Left {
            let name = if values.has("push") { "push" } else { "userpush" };
            errors.push(wrong(
                name,
                "asks for the left end, and mode=\"stream\" has none: a stream grows at one end only",
            ));
        }
        return Mode::Stream(entry);
    }
    for name in ["stream.field", "stream.outfield", "stream.maxlen", "stream.capacitylimit"] {
        if values.has(name) {
            errors.push(wrong(name, "is of no use without mode=\"stream\""));
        }
    }
    if let (Some(mode), false) = (&mode, is("queue")) {
        errors.push(wrong("mode", &format!("is {mode:?}: this module fills lists and streams and does nothing else")));
    }
    Mode::Queue(side)
}

fn side(values: &Values, queue: bool, remarks: &mut Vec<String>, errors: &mut Vec<String>) -> Side {
    contradict(values, "push", "userpush", errors);
    let words = [("right", Side::Right), ("left", Side::Left)];
    if let Some(side) = values.word("push", &words, errors) {
        return side;
    }
    match values.switch("userpush", errors) {
        Some(false) => Side::Left,
        None if queue && !values.has("push") && !values.has("userpush") => {
            remarks.push(
                "mode=\"queue\" alone pushes to the left end of the list, as omhiredis does; push=\"left\" or push=\"right\" says it clearly"
                    .into(),
            );
            Side::Left
        }
        Some(true) | None => Side::Right,
    }
}

fn entry(values: &Values, errors: &mut Vec<String>) -> Entry {
    contradict(values, "stream.field", "stream.outfield", errors);
    contradict(values, "stream.maxlen", "stream.capacitylimit", errors);
    let mut entry = Entry::default();
    for name in ["stream.field", "stream.outfield"] {
        if let Some(field) = values.text(name, errors) {
            if !Entry::allows(&field) {
                errors.push(wrong(name, "is no name of a field"));
            }
            entry.field = field;
        }
    }
    for name in ["stream.maxlen", "stream.capacitylimit"] {
        if !values.has(name) {
            continue;
        }
        entry.max_entries = values.number(name, (0, 0, Entry::MAX_ENTRIES_MAX), errors);
        if entry.max_entries > 0 && values.number("maxlength", (0, 0, u64::MAX), &mut Vec::new()) > 0 {
            errors.push(wrong(
                name,
                "contradicts maxlength: the one throws old entries away, the other holds new ones back",
            ));
        }
    }
    entry
}
