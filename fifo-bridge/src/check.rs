//! `fifo-bridge check`: is the configuration good, and does Redis take us?

pub use ::settings::check::Findings;
use ::settings::check::lanes;

use crate::settings::Settings;

/// Connects, logs in, and looks at list, cursor and eviction policy of each lane. Changes nothing.
pub fn redis(settings: &Settings) -> Findings {
    let names = settings.lanes.iter().map(|names| (names.list.as_str(), Some(names.cursor.clone())));
    lanes(&settings.endpoint, &settings.login(), &settings.mode, names)
}
