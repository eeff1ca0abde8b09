//! What the command lines of all programs have in common.

use std::path::PathBuf;

/// Flags as settings: the general form (`set`) first, so that a special flag wins.
pub fn overrides(set: &[(String, String)], special: &[(&str, &Option<String>)]) -> Vec<(String, String)> {
    let given = special.iter().filter_map(|(key, value)| Some(((*key).to_owned(), (*value).clone()?)));
    set.iter().cloned().chain(given).collect()
}

/// The file to read: the one that was named, else the default one if it exists.
pub fn file(named: Option<&PathBuf>, default: &str) -> Option<PathBuf> {
    named.cloned().or_else(|| Some(PathBuf::from(default)).filter(|path| path.exists()))
}

/// Reads `KEY=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
