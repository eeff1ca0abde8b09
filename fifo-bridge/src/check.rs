//! `fifo-bridge check`: is the configuration good, and does Redis take us?

pub use ::settings::check::Findings;

use crate::settings::Settings;

/// Connects, logs in, and looks at list, cursor and eviction policy. Changes nothing.
pub fn redis(settings: &Settings) -> Findings {
    let names = &settings.names;
    ::settings::check::redis(&settings.endpoint, settings.login(), &names.list, Some(&names.cursor))
}
