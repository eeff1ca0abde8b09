//! What an action may be told, and what it was told.

mod mode;
mod read;
pub mod table;
mod tls;
mod values;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use delivery::link::{Ack, Address, Endpoint, Topology};
use delivery::lists::lists;
use delivery::outlet::OnRefused;
use delivery::push::Mode;
use delivery::spool::Sync;

pub use self::tls::Tls;
pub use self::values::{Given, Values};

/// The settings of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// For log lines and impstats.
    pub name: String,
    /// Where Redis is, without a login that an address may hold.
    pub server: Server,
    /// The list, or the template that names it.
    pub key: Key,
    /// Lists, and which end of them, or streams of Redis'.
    pub mode: Mode,
    /// What a record is.
    pub template: String,
    /// How many lanes, and the template that tells streams apart.
    pub lanes: u32,
    /// The template that tells streams apart; there if there is more than one lane.
    pub lane_template: Option<String>,
    /// Whose cursors they are.
    pub producer: String,
    /// How long Redis may take for a batch.
    pub timeout: Duration,
    /// Where batches wait.
    pub spool: Option<SpoolSettings>,
    /// Where refused records go.
    pub dead_letters: Option<PathBuf>,
    /// What happens to refused records.
    pub on_refused: OnRefused,
    /// High water of the lists; 0 is none.
    pub max_length: u64,
    /// What a person should know although it is allowed.
    pub remarks: Vec<String>,
}

/// The list, or the template that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A list.
    List(String),
    /// A template, and what the names that it renders must begin with.
    Template {
        /// Its name.
        template: String,
        /// May be empty.
        prefix: String,
    },
}

/// Where Redis is and how to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// As given.
    pub addresses: Secrets,
    /// If an address has none.
    pub port: u16,
    /// If an address has none.
    pub db: u32,
    /// Empty: the default user.
    pub user: String,
    /// Empty: none, or in a file.
    pub password: Secret,
    /// Read at each connect.
    pub password_file: Option<PathBuf>,
    /// When a push counts.
    pub ack: Ack,
    /// If the addresses are those of Sentinels.
    pub sentinel: Option<Sentinel>,
    /// Whether and how the connection is secured.
    pub tls: Tls,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The addresses are nodes of a cluster.
    pub cluster: bool,
    /// The addresses are servers that share the lanes.
    pub shard: bool,
}

/// Sentinels, and how to get in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinel {
    /// The name of the master that they watch.
    pub master: String,
    /// Empty: the default user.
    pub user: String,
    /// Empty: none, or in a file.
    pub password: Secret,
    /// Read at each connect.
    pub password_file: Option<PathBuf>,
}

/// The spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Its folder.
    pub directory: PathBuf,
    /// How large it may become.
    pub bytes_max: u64,
    /// How long Redis may take before it is used.
    pub delay: Duration,
    /// When it is forced to the disk.
    pub sync: Sync,
}

/// Text that nobody is shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

/// Texts that nobody is shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secrets(pub Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Settings {
    /// Reads what an action was given. `host` is this machine's name. Each error names a parameter and what is allowed.
    pub fn read(values: &Values, host: &str) -> Result<Self, Vec<String>> {
        read::settings(values, host)
    }

    /// The lists of the lanes, if the list is not chosen by a template. The error says what is wrong with `key`.
    pub fn lists(&self) -> Result<Vec<String>, String> {
        match &self.key {
            Key::List(list) => lists(&self.server.topology(), list, self.lanes),
            Key::Template { .. } => Ok(Vec::new()),
        }
    }

    /// The templates that the action needs, in the order in which their texts come: the record; then what tells the list or the lane.
    pub fn templates(&self) -> Vec<&str> {
        let mut templates = vec![self.template.as_str()];
        templates.extend(match &self.key {
            Key::Template { template, .. } => Some(template.as_str()),
            Key::List(_) => self.lane_template.as_deref(),
        });
        templates
    }
}

impl Server {
    /// Where to connect to, without a login.
    pub fn endpoint(&self, timeout: Duration) -> Result<Endpoint, String> {
        self.tls.secure(self.plain_endpoint(timeout)?).map_err(|why| format!("TLS: {why:?}"))
    }

    /// The same before TLS is asked for.
    fn plain_endpoint(&self, timeout: Duration) -> Result<Endpoint, String> {
        let address = Address { servers: &self.addresses.0, port: self.port, db: self.db, topology: self.topology() };
        Ok(Endpoint::parse(address, self.connect_timeout, timeout)?.with_ack(self.ack))
    }

    /// What the servers are to each other.
    pub fn topology(&self) -> Topology {
        match (&self.sentinel, self.cluster, self.shard) {
            (Some(sentinel), ..) => Topology::Sentinel { master: sentinel.master.clone() },
            (None, true, _) => Topology::Cluster,
            (None, _, true) => Topology::Shards,
            (None, ..) => Topology::Direct,
        }
    }

    /// The same with the login, the passwords read now.
    pub fn login(&self, endpoint: &Endpoint) -> Result<Endpoint, String> {
        let password = self::password("serverpassword.file", self.password_file.as_ref(), &self.password)?;
        let endpoint = endpoint.clone().with_login(&self.user, &password);
        let Some(sentinel) = &self.sentinel else { return Ok(endpoint) };
        let sentinels = self::password("sentinel.password.file", sentinel.password_file.as_ref(), &sentinel.password)?;
        Ok(endpoint.with_sentinel_login(&sentinel.user, &sentinels))
    }
}

fn password(name: &str, file: Option<&PathBuf>, given: &Secret) -> Result<String, String> {
    let Some(path) = file else { return Ok(given.0.clone()) };
    // A credential of systemd's, if the path is relative: the variable is not there when a person runs rsyslogd -N1.
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").unwrap_or_default();
    let path = PathBuf::from(folder).join(path);
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{name} {} cannot be read: {error}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
