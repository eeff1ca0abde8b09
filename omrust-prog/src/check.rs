//! `--check`: is the configuration good, and does Redis take us?

pub use ::settings::check::Findings;
use ::settings::check::lanes;
use delivery::push::Names;

use crate::settings::Settings;

/// Connects, logs in, and looks at list, cursor of the first instance and eviction policy of each lane. Changes nothing.
pub fn redis(settings: &Settings) -> Findings {
    let producer = format!("{}:0:0", settings.producer);
    let cursor = |list: &String| Names::new(list, &producer).ok().map(|names| names.cursor);
    let names = settings.lists.iter().map(|list| (list.as_str(), cursor(list)));
    lanes(&settings.endpoint, &settings.login(), &settings.mode, names)
}
