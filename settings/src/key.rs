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

/// Makes one.
pub const fn key(name: &'static str, allowed: &'static str, reload: bool, text: &'static str) -> Key {
    Key { name, allowed, reload, text }
}
