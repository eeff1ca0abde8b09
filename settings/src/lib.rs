//! What the settings of all doors have in common.
//!
//! A door says which sections its file has and what each key means ([`Key`]); [`load`] reads the file, lays the
//! command line over it, and tells of every fault the file, the line, the key and what is allowed.
#![forbid(unsafe_code)]

pub mod check;
pub mod checks;
pub mod dotted;
pub mod flags;
pub mod key;
pub mod lanes;
pub mod mask;
pub mod place;
pub mod sections;
pub mod size;
pub mod source;
pub mod stream;

pub use checks::Invalid;
pub use key::Key;
pub use size::Size;
pub use source::{ConfigError, Door, load, parse};
