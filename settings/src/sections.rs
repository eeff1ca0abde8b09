//! Sections and words that several doors' files have. Meaning and bounds of each key: the door's table.
#![expect(missing_docs, reason = "each key is described once, in the table that the manual is made from")]

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Redis {
    pub server: Servers,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub password_file: String,
    pub db: u32,
    pub sentinel_master: String,
    pub sentinel_user: String,
    pub sentinel_password: String,
    pub sentinel_password_file: String,
    pub ack: String,
    pub connect_timeout_ms: u64,
    pub timeout_ms: u64,
    pub cluster: bool,
    pub shard: bool,
    pub tls: Tls,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a table with enabled, ca-cert, ...")]
pub struct Tls {
    pub enabled: bool,
    pub ca_cert: String,
    pub cert: String,
    pub key: String,
    pub server_name: String,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            server: Servers(vec!["127.0.0.1".into()]),
            port: 6379,
            user: String::new(),
            password: String::new(),
            password_file: String::new(),
            db: 0,
            sentinel_master: String::new(),
            sentinel_user: String::new(),
            sentinel_password: String::new(),
            sentinel_password_file: String::new(),
            ack: "memory".into(),
            connect_timeout_ms: 1000,
            timeout_ms: 5000,
            cluster: false,
            shard: false,
            tls: Tls::default(),
        }
    }
}

/// One server or several: text, or an array of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers(pub Vec<String>);

impl Serialize for Servers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [server] => server.serialize(to),
            servers => servers.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrSeveral)
    }
}

/// Not an untagged enum: that could not say what was expected.
struct OneOrSeveral;

impl<'de> Visitor<'de> for OneOrSeveral {
    type Value = Servers;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E>(self, server: &str) -> Result<Servers, E> {
        Ok(Servers(vec![server.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Servers, A::Error> {
        let mut servers = Vec::new();
        while let Some(server) = from.next_element()? {
            servers.push(server);
        }
        Ok(Servers(servers))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Push {
    Right,
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRefused {
    Hold,
    DeadLetter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncWhen {
    None,
    Interval,
    Always,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct DeadLetter {
    pub directory: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    /// The same for the log crate.
    pub fn filter(self) -> log::LevelFilter {
        match self {
            Self::Error => log::LevelFilter::Error,
            Self::Warn => log::LevelFilter::Warn,
            Self::Info => log::LevelFilter::Info,
            Self::Debug => log::LevelFilter::Debug,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Log {
    pub level: Level,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info }
    }
}
