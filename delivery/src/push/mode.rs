//! What a key is filled as: a list, or a stream of Redis'.

/// The end of the list at which records are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// RPUSH: consumers take from the left (LPOP).
    Right,
    /// LPUSH: consumers take from the right (RPOP).
    Left,
}

impl Side {
    pub(super) fn command(self) -> &'static [u8] {
        match self {
            Self::Right => b"RPUSH",
            Self::Left => b"LPUSH",
        }
    }
}

/// How a record becomes an entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The one field of each entry; its value is the record.
    pub field: String,
    /// The stream is trimmed to about so many entries, unread ones too. 0: never.
    pub max_entries: u64,
}

impl Entry {
    /// The field that omhiredis has, too.
    pub const FIELD: &'static str = "msg";
    /// The longest name of a field, in bytes.
    pub const FIELD_BYTES_MAX: usize = 128;
    /// More entries cannot be asked for.
    pub const MAX_ENTRIES_MAX: u64 = 1_000_000_000_000;

    /// True if a field may have this name.
    pub fn allows(field: &str) -> bool {
        (1..=Self::FIELD_BYTES_MAX).contains(&field.len()) && !field.contains(char::is_control)
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self { field: Self::FIELD.into(), max_entries: 0 }
    }
}

/// What the key is filled as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// A list: workers pop.
    Queue(Side),
    /// A stream: XADD. Workers read, in groups.
    Stream(Entry),
}

impl Default for Mode {
    fn default() -> Self {
        Self::Queue(Side::Right)
    }
}

impl From<Side> for Mode {
    fn from(side: Side) -> Self {
        Self::Queue(side)
    }
}

impl Mode {
    /// The command that tells how long the key is.
    pub fn length_command(&self) -> &'static str {
        match self {
            Self::Queue(_) => "LLEN",
            Self::Stream(_) => "XLEN",
        }
    }

    /// What a person calls the key.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queue(_) => "list",
            Self::Stream(_) => "stream",
        }
    }

    /// The entry, if it is a stream.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Queue(_) => None,
            Self::Stream(entry) => Some(entry),
        }
    }
}
