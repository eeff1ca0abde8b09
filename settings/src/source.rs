//! Where settings come from: the file and the command line. Errors name file, line, key and what is allowed.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checks::Invalid;
use crate::dotted;
use crate::key::Key;

/// Keys whose values are never repeated. An URL of redis may be put where the section belongs.
const SECRET: [&str; 4] = ["redis", "redis.server", "redis.password", "redis.sentinel-password"];

/// Why there are no settings. For exit status 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of the file is wrong.
    #[error("{}:{line}: {key}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, or where it should be.
        key: String,
        /// What is wrong and what is allowed.
        why: String,
    },
    /// A setting from the command line, the environment or a default is wrong.
    #[error("{key}: {why}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong and what is allowed.
        why: String,
    },
}

impl ConfigError {
    /// What the user of a program may do about it.
    pub fn advice(&self) -> Option<&'static str> {
        matches!(self, Self::Unreadable { .. })
            .then_some("name another file with --config, or none at all to run on defaults")
    }
}

/// Whose settings are read.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// All its keys.
    pub keys: &'static [Key],
    /// The manual page that has them.
    pub manual: &'static str,
}

/// What a file may hold: sections, each with its keys and their defaults.
pub trait Sections: Serialize + DeserializeOwned + Default {}

impl<T: Serialize + DeserializeOwned + Default> Sections for T {}

/// Reads the settings: `overrides` are `section.key` and value from the command line and win over the file.
///
/// Without `path` the defaults stand; a default file is the caller's decision. `check` turns what was written into what
/// the program uses.
pub fn load<F: Sections, S>(
    door: Door,
    path: Option<&Path>,
    overrides: &[(String, String)],
    check: impl FnOnce(F) -> Result<S, Invalid>,
) -> Result<S, ConfigError> {
    let text = match path {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?
        }
        None => String::new(),
    };
    parse(door, path, &text, overrides, check)
}

/// Like [`load`], from a text that is at hand. `path` is where it came from, for people.
pub fn parse<F: Sections, S>(
    door: Door,
    path: Option<&Path>,
    text: &str,
    overrides: &[(String, String)],
    check: impl FnOnce(F) -> Result<S, Invalid>,
) -> Result<S, ConfigError> {
    let place = |error: &toml::de::Error| door.line_error(path, text, error);
    let mut table: toml::Table = toml::from_str(text).map_err(|e| place(&e))?;
    // The file as it stands comes first, so that its errors are told with their lines; then one override after
    // the other, so that an error names the one that is wrong.
    let mut file: F = toml::from_str(text).map_err(|e| place(&e))?;
    for (key, value) in overrides {
        door.set::<F>(&mut table, key, value)?;
        file = table
            .clone()
            .try_into()
            .map_err(|error| ConfigError::Value { key: key.clone(), why: door.refusal(key, &error) })?;
    }
    check(file).map_err(|invalid| locate(path, text, overrides, invalid))
}

impl Door {
    /// Puts one value from the command line into the table, in the type that the key has.
    fn set<F: Sections>(self, table: &mut toml::Table, key: &str, value: &str) -> Result<(), ConfigError> {
        let unknown =
            || ConfigError::Value { key: key.to_owned(), why: format!("is no setting; {}", self.nearest(key)) };
        if !self.keys.iter().any(|known| known.name == key) {
            return Err(unknown());
        }
        let defaults = toml::Table::try_from(F::default()).map_err(|_| unknown())?;
        let default = dotted::get(&defaults, key).ok_or_else(unknown)?;
        let wrong = |what: &str| ConfigError::Value {
            key: key.to_owned(),
            why: format!("{value:?} is not {what}; allowed: {}", self.allowed(key)),
        };
        let value = match default {
            toml::Value::Integer(_) => toml::Value::Integer(value.trim().parse().map_err(|_| wrong("a number"))?),
            toml::Value::Boolean(_) => toml::Value::Boolean(value.trim().parse().map_err(|_| wrong("true or false"))?),
            _ => toml::Value::String(value.to_owned()),
        };
        dotted::put(table, key, value).ok_or_else(unknown)
    }

    fn nearest(self, key: &str) -> String {
        let section = key.split('.').next().unwrap_or_default();
        let near: Vec<_> = self.keys.iter().map(|k| k.name).filter(|name| name.starts_with(section)).collect();
        if near.is_empty() { format!("see {}", self.manual) } else { format!("there are {}", near.join(", ")) }
    }

    fn allowed(self, key: &str) -> String {
        let known = self.keys.iter().find(|known| known.name == key);
        known.map_or_else(|| format!("see {}", self.manual), |known| known.allowed.to_owned())
    }

    /// Turns an error of the TOML reader into one that names the key.
    fn line_error(self, path: Option<&Path>, text: &str, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |span| span.start);
        let key = keys_of(text)
            .into_iter()
            .find(|(_, span)| span.contains(&offset))
            .map_or_else(|| "syntax".to_owned(), |(key, _)| key);
        let why = self.refusal(&key, error);
        match path {
            Some(path) => ConfigError::Line { path: path.to_owned(), line: line_of(text, offset), key, why },
            None => ConfigError::Value { key, why },
        }
    }

    /// What the TOML reader says of a key, what is allowed, and no secret: the reader repeats values.
    fn refusal(self, key: &str, error: &toml::de::Error) -> String {
        let message = error.message().replace('\n', " ");
        let why = match (message.split_once(": "), message.rsplit_once(", expected ")) {
            (Some((what, _)), Some((_, expected))) if SECRET.contains(&key) => format!("{what}, expected {expected}"),
            _ => message,
        };
        if self.keys.iter().any(|known| known.name == key) {
            format!("{why}; allowed: {}", self.allowed(key))
        } else {
            why
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    memchr::memchr_iter(b'\n', &text.as_bytes()[..offset.min(text.len())]).count() + 1
}

/// Says where a value that was refused comes from.
fn locate(path: Option<&Path>, text: &str, overrides: &[(String, String)], invalid: Invalid) -> ConfigError {
    let overridden = |key: &str| overrides.iter().any(|(name, _)| name == key);
    let line_of_key =
        |key: &str| keys_of(text).into_iter().find(|(name, _)| name == key).map(|(_, span)| line_of(text, span.start));
    let is_set = |key: &str| overridden(key) || line_of_key(key).is_some();
    let (key, why) = match invalid.other {
        Some((other, why)) if is_set(other) && !is_set(invalid.key) => (other, why),
        _ => (invalid.key, invalid.why),
    };
    let line = line_of_key(key);
    match (path, line) {
        (Some(path), Some(line)) if !overridden(key) => {
            ConfigError::Line { path: path.to_owned(), line, key: key.to_owned(), why }
        }
        _ => ConfigError::Value { key: key.to_owned(), why },
    }
}

/// All `section.key` of the text with the bytes that they cover.
fn keys_of(text: &str) -> Vec<(String, std::ops::Range<usize>)> {
    let mut keys = Vec::new();
    if let Ok(root) = DeTable::parse(text) {
        keys_in(root.get_ref(), "", &mut keys);
    }
    keys
}

/// Sections behind what is inside of them: a key is the better answer.
fn keys_in(table: &DeTable<'_>, prefix: &str, keys: &mut Vec<(String, std::ops::Range<usize>)>) {
    let (mut sections, mut values) = (Vec::new(), Vec::new());
    for (name, value) in table {
        let value: &Spanned<DeValue<'_>> = value;
        let full = format!("{prefix}{}", name.get_ref());
        let span = name.span().start..value.span().end.max(name.span().end);
        match value.get_ref() {
            DeValue::Table(inner) => {
                keys_in(inner, &format!("{full}."), keys);
                sections.push((full, span));
            }
            _ => values.push((full, span)),
        }
    }
    keys.append(&mut values);
    keys.append(&mut sections);
}
