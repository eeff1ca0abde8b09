//! `--check`: is the configuration good, and does Redis take us?

pub use ::settings::check::Findings;
use delivery::link::Endpoint;
use delivery::push::Names;

use crate::settings::Settings;

/// Connects, logs in, and looks at list, cursor of the first instance and eviction policy of each lane. Changes nothing.
pub fn redis(settings: &Settings) -> Findings {
    let login = settings.login();
    let mut all = Findings::default();
    let mut away: Vec<String> = Vec::new();
    for (lane, list) in settings.lists.iter().enumerate() {
        let of_lane = |endpoint: &Endpoint| endpoint.for_lane(lane).for_list(list);
        let endpoint = of_lane(&settings.endpoint);
        // A server that is away is asked, and told, once.
        if away.contains(&endpoint.to_string()) {
            continue;
        }
        let names = Names::new(list, &format!("{}:0:0", settings.producer)).ok();
        let cursor = names.as_ref().map(|names| names.cursor.as_str());
        let login = login.as_ref().map(of_lane).map_err(Clone::clone);
        let found = ::settings::check::redis(&endpoint, login, (list, &settings.mode), cursor);
        if found.notes.is_empty() {
            away.push(endpoint.to_string());
        }
        for (all, found) in [(&mut all.notes, found.notes), (&mut all.faults, found.faults)] {
            for line in found {
                if !all.contains(&line) {
                    all.push(line);
                }
            }
        }
    }
    all
}
