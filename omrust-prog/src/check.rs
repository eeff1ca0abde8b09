//! `--check`: is the configuration good, and does Redis take us?

pub use ::settings::check::Findings;
use delivery::push::Names;

use crate::settings::Settings;

/// Connects, logs in, and looks at list, cursor of the first instance and eviction policy. Changes nothing.
pub fn redis(settings: &Settings) -> Findings {
    let names = Names::new(&settings.list, &format!("{}:0:0", settings.producer)).ok();
    let cursor = names.as_ref().map(|names| names.cursor.as_str());
    ::settings::check::redis(&settings.endpoint, settings.login(), (&settings.list, &settings.mode), cursor)
}
