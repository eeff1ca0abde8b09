//! The settings as a manual page, a page for browsers, and the file that is shipped.

use std::fmt::Write as _;

use fifo_bridge::settings::file::File;
use fifo_bridge::settings::table::{KEYS, Key};

use settings::dotted;

use super::roff::{Page, wrap};

/// Sections in their order, with what they are about.
const SECTIONS: &[(&str, &str)] = &[
    ("redis", "Where Redis is and how to log in."),
    ("queue", "The list, and what to do when Redis does not take records into it."),
    ("stream", "What an entry is when queue.mode is stream, and when Redis throws entries away."),
    ("batch", "How records are gathered into pushes."),
    (
        "fifo",
        "The named pipe. If systemd holds it (fifo-bridge.socket), its unit says mode, owner and size; path must be the same in both.",
    ),
    ("frame", "How records are told apart."),
    ("spool", "Where bytes wait until Redis has confirmed them."),
    ("dead-letter", "Where lines and records go that the list cannot take, each with its reason."),
    ("metrics", "How the bridge is watched."),
    ("log", "What it says."),
];

/// A value that the shipped file sets: the unit that is shipped gives the folder.
const SHIPPED: (&str, &str) = ("spool.directory", "\"/var/lib/fifo-bridge/spool\"");

/// The keys of a section, its name left off, with their defaults in TOML.
fn keys(section: &str) -> Vec<(&'static Key, &'static str, String)> {
    let defaults = toml::Table::try_from(File::default()).expect("the defaults are TOML");
    let of_section = KEYS.iter().filter_map(|key| Some((key, key.name.strip_prefix(section)?.strip_prefix('.')?)));
    of_section
        .map(|(key, name)| (key, name, dotted::get(&defaults, key.name).expect("a default").to_string()))
        .collect()
}

/// fifo-bridge.toml(5).
pub fn page() -> String {
    let mut page = Page::new("FIFO-BRIDGE.TOML", "5", "File Formats Manual");
    page.section("NAME");
    page.raw("fifo\\-bridge.toml \\- settings of fifo\\-bridge\n");
    page.section("SYNOPSIS");
    page.text("`/etc/fifo-bridge/fifo-bridge.toml`");
    page.section("DESCRIPTION");
    for text in INTRODUCTION {
        page.text(text);
    }
    for (section, about) in SECTIONS {
        page.section(&section.to_uppercase());
        page.text(about);
        for (key, name, default) in keys(section) {
            let note = if key.reload { "" } else { " A change needs a restart." };
            page.item(&format!("`{name}` = {default}"), &format!("{} Allowed: {}.{note}", key.text, key.allowed));
        }
        if *section == "spool" {
            page.text("What spool.sync decides:");
            for (value, kill, power, cost) in SYNC {
                page.item(&format!("`{value}`"), &format!("Kill -9: {kill}. Power loss: {power}. Price: {cost}."));
            }
        }
    }
    page.section("RELOAD");
    for text in RELOAD {
        page.text(text);
    }
    page.section("FILES");
    page.item("`/etc/fifo-bridge/fifo-bridge.toml`", "The file.");
    page.section("EXAMPLES");
    page.text("Redis on another machine with a password and TLS, and a spool that survives a power loss:");
    page.example(&[
        "[redis]",
        "server = \"redis.example.net\"",
        "user = \"bridge\"",
        "password-file = \"/etc/fifo-bridge/redis-password\"",
        "tls.enabled = true",
        "",
        "[spool]",
        "directory = \"/var/lib/fifo-bridge/spool\"",
        "sync = \"always\"",
    ]);
    page.section("SEE ALSO");
    page.text("`fifo-bridge`(8), `rsyslog.conf`(5), `systemd.exec`(5)");
    page.finish()
}

const INTRODUCTION: &[&str] = &[
    "The file is TOML, and everything has a default that works with a Redis on the same machine: an empty file is a good one. A key that is not known, \
     a value out of range, or two that contradict each other are errors that name the file, the line, the key and what is allowed; the bridge then exits with 78.",
    "Flags of `fifo-bridge` win over the file; `--set section.key=value` reaches every key. `fifo-bridge config` prints what is in force.",
    "A size is a number of bytes, or text with k, m, g or t for powers of 1024, such as \"64m\".",
];

const RELOAD: &[&str] = &[
    "SIGHUP (`systemctl reload fifo-bridge`) reads the file again. The connection to Redis is made anew and nothing is lost. If the file is bad, or if a key is \
     changed that needs a restart, nothing at all is taken over and the log says why.",
];

/// spool.sync: value, what a kill costs, what a power loss costs, the price.
const SYNC: &[(&str, &str, &str, &str)] = &[
    (
        "none",
        "nothing is lost",
        "what Redis did not have and the kernel had not written back, some 30 seconds of records",
        "none",
    ),
    (
        "interval",
        "nothing is lost",
        "what Redis did not have and was younger than spool.sync-interval-ms",
        "one sync per interval, beside the data path",
    ),
    (
        "always",
        "nothing is lost",
        "only what left the pipe within the last sync, and what was in the pipe",
        "a sync after each move from the pipe, in the data path: a slow disk fills the pipe",
    ),
];

/// docs/SETTINGS.md.
pub fn markdown() -> String {
    let mut out = String::from(
        "<!-- Made from fifo-bridge/src/settings/table.rs: UPDATE=1 cargo test -p e2e --test e2e generated -->\n\n# Settings\n\n",
    );
    for text in INTRODUCTION {
        let _ = writeln!(out, "{text}\n");
    }
    out.push_str("The same is in the manual: `man fifo-bridge.toml`.\n");
    for (section, about) in SECTIONS {
        let _ = writeln!(out, "\n## [{section}]\n\n{about}\n");
        out.push_str("| key | default | allowed | reload | what it does |\n|---|---|---|---|---|\n");
        for (key, name, default) in keys(section) {
            let reload = if key.reload { "yes" } else { "restart" };
            let (allowed, text) = (cell(key.allowed), cell(key.text));
            let _ = writeln!(out, "| `{name}` | `{default}` | {allowed} | {reload} | {text} |");
        }
        if *section == "spool" {
            out.push_str("\nWhat `spool.sync` decides:\n\n");
            out.push_str("| | kill -9 of anything | power loss, kernel crash | price |\n|---|---|---|---|\n");
            for (value, kill, power, cost) in SYNC {
                let _ = writeln!(out, "| `{value}` | {kill} | {power} | {cost} |");
            }
            out.push_str(
                "\nWhatever it is set to, a spool in memory (no `spool.directory`) is gone with the power, and Redis has its own setting for the same \
                 question (`appendfsync`).\n",
            );
        }
    }
    out.push_str("\n## Reload\n\n");
    for text in RELOAD {
        let _ = writeln!(out, "{text}\n");
    }
    for (reload, head) in [(true, "Taken over by a reload:"), (false, "Need a restart:")] {
        let names: Vec<String> =
            KEYS.iter().filter(|key| key.reload == reload).map(|key| format!("`{}`", key.name)).collect();
        let _ = writeln!(out, "{head} {}.\n", names.join(", "));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Text that may stand in a table.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('~', "\\~").replace('<', "&lt;")
}

/// packaging/fifo-bridge.toml: prose behind "# ", settings behind "#".
pub fn file() -> String {
    let mut out = String::from(
        "# Settings of fifo-bridge. What is commented out is the default; the words are those of fifo-bridge.toml(5).\n\
         # Everybody may read this file: a password belongs into a file of its own (redis.password-file, or LoadCredential=\n\
         # in the unit). \"fifo-bridge check\" tells whether the file is good.\n",
    );
    for (section, about) in SECTIONS {
        let _ = writeln!(out, "\n");
        comment(&mut out, about);
        let _ = writeln!(out, "[{section}]");
        for (key, name, default) in keys(section) {
            out.push('\n');
            comment(&mut out, key.text);
            let note = if key.reload { "" } else { " A change needs a restart." };
            comment(&mut out, &format!("Allowed: {}.{note}", key.allowed));
            if key.name == SHIPPED.0 {
                comment(&mut out, "fifo-bridge.service gives this folder to the bridge.");
                let _ = writeln!(out, "{name} = {}", SHIPPED.1);
            } else {
                let _ = writeln!(out, "#{name} = {default}");
            }
        }
    }
    out
}

/// Prose in the file that is shipped.
pub fn comment(out: &mut String, text: &str) {
    for line in wrap(text, 116) {
        let _ = writeln!(out, "# {line}");
    }
}
