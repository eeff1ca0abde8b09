//! The command line.

use std::path::PathBuf;

use ::settings::flags;
use clap::{Args, Parser, Subcommand};

/// Drains the named pipe that rsyslog writes into a Redis list, every record once and in order
#[derive(Debug, Parser)]
#[command(name = "fifo-bridge", version, propagate_version = true)]
#[command(after_help = "Exit status: 0 good, 1 it did not work, 78 the configuration is wrong.\n\
                        Files: /etc/fifo-bridge/fifo-bridge.toml is read if --config is not given and it exists.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the bridge until SIGTERM
    Run(Source),
    /// Check the configuration and whether Redis can be reached: 0 good, 1 unreachable, 78 bad configuration
    Check {
        /// Where settings come from.
        #[command(flatten)]
        source: Source,
        /// Check the configuration only
        #[arg(long)]
        no_connect: bool,
    },
    /// Ask a running bridge how it is
    Status {
        /// Where settings come from.
        #[command(flatten)]
        source: Source,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the effective settings, secrets masked
    Config(Source),
    /// Look into a spool of any door, or empty it, while nothing runs
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Look at the records that any door has set aside, or bring them back; doors may run
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
}

/// What to do with dead letters. The file stays as it is.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub enum DeadLettersCommand {
    /// Print how many there are, by reason and list
    List {
        /// The file, or the folder that holds dead-letters.jsonl
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Push them into their lists, each once. It may be interrupted and run again; what was brought back before is recognised
    Replay {
        /// The file, or the folder that holds dead-letters.jsonl
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Those of this reason: refused, torn, too-long or damaged; may be repeated
        #[arg(long, value_name = "REASON", default_value = "refused")]
        reason: Vec<String>,
        /// Those for this list only; may be repeated
        #[arg(long, value_name = "LIST")]
        list: Vec<String>,
        /// Into this list in place of their own; with one --list
        #[arg(long, value_name = "LIST")]
        to: Option<String>,
        /// Where settings come from.
        #[command(flatten)]
        source: Source,
    },
}

/// What to do with a spool. None of it needs a bridge, and none works while one has the spool.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub enum SpoolCommand {
    /// Print what is in the spool, as its names and marks tell
    Status {
        /// Folder of the spool
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read all of the spool and print what is damaged or lost: 0 nothing, 1 something
    Verify {
        /// Folder of the spool
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the records that Redis has not confirmed, a line of JSON each
    Export {
        /// Folder of the spool
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Also those that it has confirmed and that are still there
        #[arg(long)]
        all: bool,
        /// Print the bytes of each and a line feed
        #[arg(long)]
        raw: bool,
    },
    /// Push what waits into Redis, at the positions that it has, so that nothing comes twice. It may be interrupted and run again
    Replay {
        /// Folder of the spool
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Where settings come from.
        #[command(flatten)]
        source: Source,
    },
}

/// Where settings come from: flags win over the file, the file over the defaults.
#[derive(Debug, Clone, Default, Args)]
pub struct Source {
    /// Configuration file
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Named pipe to read [fifo.path]
    #[arg(long, value_name = "PATH")]
    pub fifo: Option<String>,
    /// Where Redis is [redis.server]
    #[arg(long, short, value_name = "SERVER")]
    pub server: Option<String>,
    /// Port of Redis [redis.port]
    #[arg(long, short, value_name = "PORT")]
    pub port: Option<String>,
    /// Redis list to fill [queue.key]
    #[arg(long, short, value_name = "KEY")]
    pub key: Option<String>,
    /// Folder of the spool [spool.directory]
    #[arg(long, value_name = "DIR")]
    pub spool_directory: Option<String>,
    /// Where Prometheus finds /metrics [metrics.listen]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen: Option<String>,
    /// What to log: error, warn, info or debug [log.level]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Any other setting, `queue.in-flight=16` for example; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::pair)]
    pub set: Vec<(String, String)>,
}

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "/etc/fifo-bridge/fifo-bridge.toml";

impl Source {
    /// Flags as settings, the general form first so that a special flag wins.
    pub fn overrides(&self) -> Vec<(String, String)> {
        let special = [
            ("fifo.path", &self.fifo),
            ("redis.server", &self.server),
            ("redis.port", &self.port),
            ("queue.key", &self.key),
            ("spool.directory", &self.spool_directory),
            ("metrics.listen", &self.metrics_listen),
            ("log.level", &self.log_level),
        ];
        flags::overrides(&self.set, &special)
    }

    /// The file to read: the one that was named, else the default one if it exists.
    pub fn file(&self) -> Option<PathBuf> {
        flags::file(self.config.as_ref(), DEFAULT_FILE)
    }

    /// Reads the settings.
    pub fn load(&self) -> Result<crate::settings::Settings, crate::settings::ConfigError> {
        crate::settings::load(self.file().as_deref(), &self.overrides())
    }
}
