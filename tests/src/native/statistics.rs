//! What rsyslogd says of itself (impstats, a file of JSON lines).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::child::{PATIENCE, until};

/// The file of statistics of one rsyslogd.
#[derive(Clone, Debug)]
pub struct Statistics(PathBuf);

impl Statistics {
    /// They are in `file`, or will be.
    pub fn new(file: &Path) -> Self {
        Self(file.to_path_buf())
    }

    /// The text that makes rsyslogd write them, once a second.
    pub fn module(&self) -> String {
        let file = self.0.display();
        format!("module(load=\"impstats\" interval=\"1\" format=\"json\" log.syslog=\"off\" log.file=\"{file}\")")
    }

    /// How much there is; what is written later counts as news.
    pub fn mark(&self) -> usize {
        fs::metadata(&self.0).map_or(0, |meta| meta.len() as usize)
    }

    /// The last line behind `mark` about an object, found by the beginnings of its name and its origin.
    pub fn last(&self, mark: usize, name: &str, origin: &str) -> Option<Value> {
        self.find(mark, name, |object| object["origin"].as_str().is_some_and(|word| word.starts_with(origin)))
    }

    fn find(&self, mark: usize, name: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let bytes = fs::read(&self.0).ok()?;
        let text = String::from_utf8_lossy(bytes.get(mark..)?);
        let objects =
            text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(&line[line.find('{')?..]).ok());
        let named = |object: &Value| object["name"].as_str().is_some_and(|word| word.starts_with(name));
        objects.into_iter().find(|object| named(object) && fits(object))
    }

    /// Waits until a counter behind `mark` is at least so high; counters begin at 0 with each start.
    #[track_caller]
    pub fn wait(&self, mark: usize, name: &str, counter: &str, least: u64) {
        until(&format!("{counter} of {name} to be {least}"), PATIENCE, || {
            // rsyslog itself has an object of the action's name, with other counters.
            let object = self.find(mark, name, |object| object[counter].is_u64())?;
            (object[counter].as_u64()? >= least).then_some(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let line = |n: u64| {
            format!(
                "Sat Nov 22 01:00:00 2026: {{ \"name\": \"imptcp(*/1)\", \"origin\": \"imptcp\", \"submitted\": {n} }}\n"
            )
        };
        fs::write(file.path(), line(5) + "nonsense\n" + &line(7) + "{ \"name\": \"other\" }\n")
            .expect("it can be written");
        let statistics = Statistics::new(file.path());
        assert_eq!(statistics.last(0, "imptcp", "imptcp").expect("a line")["submitted"], 7);
        assert_eq!(statistics.last(statistics.mark(), "imptcp", "imptcp"), None);
        statistics.wait(0, "imptcp", "submitted", 7);
    }
}
