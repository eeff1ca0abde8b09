//! What is told of one key. Manuals and tables are made from this.

/// One key of the TOML file.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`
    pub name: &'static str,
    /// What may be written.
    pub allowed: &'static str,
    /// Whether a reload takes it over.
    pub reload: bool,
    /// What it does, in sentences.
    pub text: &'static str,
}

/// The names of the keys, sorted.
pub fn names(keys: &[Key]) -> Vec<String> {
    let mut names: Vec<String> = keys.iter().map(|key| key.name.to_owned()).collect();
    names.sort();
    names
}

/// The names of what a file takes, sorted: those that its defaults have.
pub fn taken(defaults: &impl serde::Serialize) -> Vec<String> {
    crate::dotted::names(&toml::Table::try_from(defaults).unwrap_or_default())
}

/// Makes one.
pub const fn key(name: &'static str, allowed: &'static str, reload: bool, text: &'static str) -> Key {
    Key { name, allowed, reload, text }
}
