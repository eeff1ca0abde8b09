//! Values that are not allowed, and the checks that many keys share.

use std::path::PathBuf;

/// A value that is not allowed.
#[derive(Debug)]
pub struct Invalid {
    /// `section.key`
    pub key: &'static str,
    /// What is wrong and what is allowed.
    pub why: String,
    /// The other key of a contradiction, and the same from its side: it is told if only that one was set.
    pub other: Option<(&'static str, String)>,
}

/// The value of `key` is not allowed.
pub fn invalid<T>(key: &'static str, why: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { key, why: why.into(), other: None })
}

/// The value, if it lies between `low` and `high`.
pub fn within<T: PartialOrd + std::fmt::Display + Copy>(
    key: &'static str,
    value: T,
    low: T,
    high: T,
) -> Result<T, Invalid> {
    if value < low || value > high {
        return invalid(key, format!("{value} is not allowed; {low} to {high}"));
    }
    Ok(value)
}

/// The path, `None` if the text is empty.
pub fn absolute(key: &'static str, path: &str) -> Result<Option<PathBuf>, Invalid> {
    match path {
        "" => Ok(None),
        path if path.starts_with('/') => Ok(Some(PathBuf::from(path))),
        path => invalid(key, format!("{path:?} is not allowed; an absolute path")),
    }
}
