//! The command line.

use std::path::PathBuf;

use ::settings::flags;
use clap::Parser;

/// What rsyslog's omprog talks to: brings every record into a Redis list, once and in order
#[derive(Debug, Parser)]
#[command(name = "omrust-prog", version)]
#[command(after_help = "Exit status: 0 good, 1 it did not work, 78 the configuration is wrong.\n\
                        Files: /etc/omrust/omrust.toml is read if --config is not given and it exists.")]
pub struct Cli {
    /// Configuration file
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    /// What to log: error, warn, info or debug [log.level]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Any other setting, `prog.patience-seconds=60` for example; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::pair)]
    pub set: Vec<(String, String)>,
    /// Check the configuration and whether Redis can be reached: 0 good, 1 unreachable, 78 bad configuration
    #[arg(long)]
    pub check: bool,
    /// With --check: check the configuration only
    #[arg(long, requires = "check")]
    pub no_connect: bool,
    /// Print the effective settings, secrets masked
    #[arg(long, conflicts_with = "check")]
    pub print_config: bool,
    /// Print the names of the lists that so many lanes of queue.key have, one a line; in a cluster with redis.cluster
    #[arg(long, value_name = "LANES", conflicts_with_all = ["check", "print_config"], value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub lists: Option<u32>,
}

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "/etc/omrust/omrust.toml";

impl Cli {
    /// Flags as settings, the general form first so that a special flag wins.
    pub fn overrides(&self) -> Vec<(String, String)> {
        let special = [
            ("redis.server", &self.server),
            ("redis.port", &self.port),
            ("queue.key", &self.key),
            ("spool.directory", &self.spool_directory),
            ("log.level", &self.log_level),
        ];
        flags::overrides(&self.set, &special)
    }

    /// The file to read: the one that was named, else the default one if it exists.
    pub fn file(&self) -> Option<PathBuf> {
        flags::file(self.config.as_ref(), DEFAULT_FILE)
    }

    /// Reads the settings.
    pub fn load(&self) -> Result<crate::settings::Settings, settings::ConfigError> {
        crate::settings::load(self.file().as_deref(), &self.overrides())
    }
}
