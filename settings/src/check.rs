//! Does Redis take us? What the programs' check commands ask.

use delivery::link::{Endpoint, Link, may_drop_cursor};
use delivery::push::{Mode, Reply};

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Things that are good to know.
    pub notes: Vec<String>,
    /// Things that keep the program from working.
    pub faults: Vec<String>,
}

/// Connects, logs in, and looks at cursor, list and eviction policy. Changes nothing. `login` is `endpoint` with the password.
fn redis(
    endpoint: &Endpoint,
    login: Result<Endpoint, String>,
    (list, mode): (&str, &Mode),
    cursor: Option<&str>,
) -> Findings {
    let mut findings = Findings::default();
    let connected = login.and_then(|login| Link::connect(&login).map_err(|error| error.to_string()));
    let mut link = match connected {
        Ok(link) => link,
        Err(error) => {
            findings.fault(format!("redis at {endpoint} cannot be used: {error}"));
            return findings;
        }
    };
    findings.note(format!("redis at {endpoint} answers"));
    if let Some(name) = cursor {
        match link.cursor(name) {
            Ok(cursor) if cursor.is_empty() => findings.note(format!("there is no cursor {name} yet")),
            Ok(cursor) => findings.note(format!("the cursor {name} is {}", String::from_utf8_lossy(&cursor))),
            Err(error) => findings.fault(format!("the cursor {name} cannot be read: {error}")),
        }
    }
    let (command, word) = (mode.length_command(), mode.word());
    match link.ask(&[command, list]) {
        Ok(Reply::Number(length)) => findings.note(format!("the {word} {list} has {length} records")),
        Ok(other) => findings.fault(format!("{command} {list}: {other:?}")),
        Err(error) if error.class() == "NOPERM" => {
            findings.note(format!("the user may not look at the {word} {list}: {error}"));
        }
        Err(error) => findings.fault(format!("the {word} {list} cannot be used: {error}")),
    }
    match link.eviction_policy() {
        Some(policy) if may_drop_cursor(&policy) => {
            findings.fault(format!("maxmemory-policy is {policy}: redis may drop records and cursors; set noeviction"));
        }
        Some(policy) => findings.note(format!("maxmemory-policy is {policy}")),
        None => findings.note("the user may not ask for maxmemory-policy; it must not be one of allkeys-*".into()),
    }
    findings
}

/// The same for several lanes, each with its list and its cursor. A server that is away is asked, and told, once, and nothing is told twice.
pub fn lanes<'a>(
    endpoint: &Endpoint,
    login: &Result<Endpoint, String>,
    mode: &Mode,
    lanes: impl Iterator<Item = (&'a str, Option<String>)>,
) -> Findings {
    let mut all = Findings::default();
    let mut away: Vec<String> = Vec::new();
    for (number, (list, cursor)) in lanes.enumerate() {
        let of_lane = |endpoint: &Endpoint| endpoint.for_lane(number).for_list(list);
        let endpoint = of_lane(endpoint);
        if away.contains(&endpoint.to_string()) {
            continue;
        }
        let login = login.as_ref().map(of_lane).map_err(Clone::clone);
        let found = redis(&endpoint, login, (list, mode), cursor.as_deref());
        if found.notes.is_empty() {
            away.push(endpoint.to_string());
        }
        for (all, found) in [(&mut all.notes, found.notes), (&mut all.faults, found.faults)] {
            for line in found {
                if !all.contains(&line) {
                    all.push(line);
                }
            }
        }
    }
    all
}

impl Findings {
    fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    fn fault(&mut self, text: String) {
        self.faults.push(text);
    }
}
