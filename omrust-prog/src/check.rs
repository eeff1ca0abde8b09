//! `--check`: is the configuration good, and does Redis take us?

use delivery::link::{Link, may_drop_cursor};
use delivery::push::{Names, Reply};

use crate::settings::Settings;

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Things that are good to know.
    pub notes: Vec<String>,
    /// Things that keep the program from working.
    pub faults: Vec<String>,
}

/// Connects, logs in, and looks at list, cursor and eviction policy. Changes nothing.
pub fn redis(settings: &Settings) -> Findings {
    let mut findings = Findings::default();
    let connected = settings.login().and_then(|endpoint| Link::connect(&endpoint).map_err(|error| error.to_string()));
    let mut link = match connected {
        Ok(link) => link,
        Err(error) => {
            findings.faults.push(format!("redis at {} cannot be used: {error}", settings.endpoint));
            return findings;
        }
    };
    findings.notes.push(format!("redis at {} answers", settings.endpoint));
    match link.ask(&["LLEN", &settings.list]) {
        Ok(Reply::Number(length)) => findings.notes.push(format!("the list {} has {length} records", settings.list)),
        Ok(other) => findings.faults.push(format!("LLEN {}: {other:?}", settings.list)),
        Err(error) if error.class() == "NOPERM" => {
            findings.notes.push(format!("the user may not look at the list {}: {error}", settings.list));
        }
        Err(error) => findings.faults.push(format!("the list {} cannot be used: {error}", settings.list)),
    }
    if let Ok(names) = Names::new(&settings.list, &format!("{}:0:0", settings.producer)) {
        match link.cursor(&names.cursor) {
            Ok(cursor) if cursor.is_empty() => {
                findings.notes.push(format!("there is no cursor {} yet", names.cursor));
            }
            Ok(cursor) => {
                findings.notes.push(format!("the cursor {} is {}", names.cursor, String::from_utf8_lossy(&cursor)));
            }
            Err(error) => findings.faults.push(format!("the cursor {} cannot be read: {error}", names.cursor)),
        }
    }
    match link.eviction_policy() {
        Some(policy) if may_drop_cursor(&policy) => findings
            .faults
            .push(format!("maxmemory-policy is {policy}: redis may drop records and cursors; set noeviction")),
        Some(policy) => findings.notes.push(format!("maxmemory-policy is {policy}")),
        None => {
            findings.notes.push("the user may not ask for maxmemory-policy; it must not be one of allkeys-*".into());
        }
    }
    findings
}
