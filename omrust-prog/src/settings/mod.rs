//! The settings: flags over file over defaults, in the words that all doors share.

use std::path::Path;

use ::settings::{ConfigError, Door};

pub mod effective;
pub mod file;
pub mod table;

pub use effective::Settings;

/// Where these settings are described.
pub const DOOR: Door = Door { keys: table::KEYS, manual: "omrust.toml(5)" };

/// Reads the settings: `overrides` are `section.key` and value from the command line and win over the file.
pub fn load(path: Option<&Path>, overrides: &[(String, String)]) -> Result<Settings, ConfigError> {
    ::settings::load(DOOR, path, overrides, Settings::check)
}

/// The same from a text that is at hand.
pub fn parse(text: &str) -> Result<Settings, ConfigError> {
    ::settings::parse(DOOR, None, text, &[], Settings::check)
}
