//! The settings: flags over file over defaults.
//!
//! [`mod@file`] is what the TOML file may hold, [`table`] says of each key what it means and what is allowed (the man page and
//! `docs/SETTINGS.md` are made from it), [`effective`] turns both into checked values.

use std::path::Path;

use ::settings::Door;
pub use ::settings::{ConfigError, size};

pub mod effective;
pub mod file;
pub mod table;

pub use effective::Settings;

/// Reads the settings: `overrides` are `section.key` and value from the command line and win over the file.
///
/// Without `path` the defaults stand; a default file is the caller's decision.
pub fn load(path: Option<&Path>, overrides: &[(String, String)]) -> Result<Settings, ConfigError> {
    let door = Door { keys: table::KEYS, manual: "fifo-bridge.toml(5)" };
    ::settings::load(door, path, overrides, Settings::check)
}
