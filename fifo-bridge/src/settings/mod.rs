//! The settings: flags over file over defaults.
//!
//! [`mod@file`] is what the TOML file may hold, [`table`] says of each key what it means and what is allowed (the man page and
//! `docs/SETTINGS.md` are made from it), [`effective`] turns both into checked values.

pub mod effective;
pub mod file;
pub mod size;
pub mod source;
pub mod table;

pub use effective::Settings;
pub use source::{ConfigError, load};
