//! Other versions of rsyslogd: Debian's packages, unpacked in a private folder.

use crate::apt::unpacked;
use crate::host::{Host, release_name};

/// The Debian releases that the module must live in: rsyslog 8.2102, 8.2302, 8.2504, 8.2608, 8.2610.
pub const SUITES: [&str; 5] = ["bullseye", "bookworm", "trixie", "forky", "sid"];

/// What is fetched, with all that it needs. The last ones are left out where they do not exist.
const PACKAGES: [&str; 3] = ["rsyslog", "rsyslog-relp", "rsyslog-hiredis"];

/// The rsyslogd of a release, fetched if need be. The error says why it cannot be had.
pub fn host(suite: &str) -> Result<Host, String> {
    if suite == release_name() {
        return Ok(Host::installed());
    }
    unpacked(suite, suite, &PACKAGES, |tree| Host::unpacked(suite, tree))
}
