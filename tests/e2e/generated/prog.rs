//! omrust-prog's manual, the manual of omrust.toml, the same as a page for browsers, and the file that is shipped.

use std::fmt::Write as _;

use clap::{Arg, CommandFactory as _};
use clap_mangen::Man;
use omrust_prog::cli::{Cli, DEFAULT_FILE};
use omrust_prog::settings::file::File;
use omrust_prog::settings::table::{KEYS, Key};

use super::program::{options, written};
use super::roff::Page;
use super::settings::{cell, comment};
use settings::dotted;

const SECTIONS: &[(&str, &str)] = &[
    ("redis", "Where Redis is and how to log in."),
    ("queue", "The list, and what to do when Redis does not take records into it."),
    ("stream", "What an entry is when queue.mode is stream, and when Redis throws entries away."),
    ("spool", "Where transactions go that Redis does not take in time."),
    ("dead-letter", "Where lines and records go that the list cannot take, each with its reason."),
    ("prog", "The conversation with rsyslog's omprog. The words are those of the action, in this file's spelling."),
    ("log", "What it says."),
];

/// A value that the shipped file sets.
const SHIPPED: (&str, &str) = ("spool.directory", "\"/var/lib/omrust\"");

fn keys(section: &str) -> Vec<(&'static Key, &'static str, String)> {
    let defaults = toml::Table::try_from(File::default()).expect("the defaults are TOML");
    let of_section = KEYS.iter().filter_map(|key| Some((key, key.name.strip_prefix(section)?.strip_prefix('.')?)));
    of_section
        .map(|(key, name)| (key, name, dotted::get(&defaults, key.name).expect("a default").to_string()))
        .collect()
}

const INTRODUCTION: &[&str] = &[
    "The file is TOML, and everything has a default that works with a Redis on the same machine. A key that is not known, a value out of range, or two that \
     contradict each other are errors that name the file, the line, the key and what is allowed; `omrust-prog` then exits with 78.",
    "Flags of `omrust-prog` win over the file; `--set section.key=value` reaches every key. `omrust-prog --print-config` prints what is in force. It is read at \
     the start of the program. The C interface (omrust.h) reads the same file.",
    "A size is a number of bytes, or text with k, m, g or t for powers of 1024, such as \"64m\".",
];

/// omrust.toml(5).
pub fn settings_page() -> String {
    let mut page = Page::new("OMRUST.TOML", "5", "File Formats Manual");
    page.section("NAME");
    page.raw("omrust.toml \\- settings of omrust\\-prog and of programs that use omrust.h\n");
    page.section("SYNOPSIS");
    page.text("`/etc/omrust/omrust.toml`");
    page.section("DESCRIPTION");
    for text in INTRODUCTION {
        page.text(text);
    }
    for (section, about) in SECTIONS {
        page.section(&section.to_uppercase());
        page.text(about);
        for (key, name, default) in keys(section) {
            page.item(&format!("`{name}` = {default}"), &format!("{} Allowed: {}.", key.text, key.allowed));
        }
    }
    page.section("FILES");
    page.item(&format!("`{DEFAULT_FILE}`"), "The file.");
    page.section("SEE ALSO");
    page.text("`omrust-prog`(8), `rsyslog.conf`(5)");
    page.finish()
}

/// docs/OMRUST-TOML.md.
pub fn markdown() -> String {
    let mut out = String::from(
        "<!-- Made from omrust-prog/src/settings/table.rs: UPDATE=1 cargo test -p e2e --test e2e generated -->\n\n# omrust.toml\n\n",
    );
    for text in INTRODUCTION {
        let _ = writeln!(out, "{text}\n");
    }
    out.push_str("The same is in the manual: `man omrust.toml`.\n");
    for (section, about) in SECTIONS {
        let _ = writeln!(out, "\n## [{section}]\n\n{about}\n");
        out.push_str("| key | default | allowed | what it does |\n|---|---|---|---|\n");
        for (key, name, default) in keys(section) {
            let _ = writeln!(out, "| `{name}` | `{default}` | {} | {} |", cell(key.allowed), cell(key.text));
        }
    }
    out
}

/// packaging/omrust.toml.
pub fn file() -> String {
    let mut out = String::from(
        "# Settings of omrust-prog. What is commented out is the default; the words are those of omrust.toml(5).\n\
         # Everybody may read this file: a password belongs into a file of its own (redis.password-file).\n\
         # \"omrust-prog --check\" tells whether the file is good.\n",
    );
    for (section, about) in SECTIONS {
        let _ = writeln!(out, "\n");
        comment(&mut out, about);
        let _ = writeln!(out, "[{section}]");
        for (key, name, default) in keys(section) {
            out.push('\n');
            comment(&mut out, key.text);
            comment(&mut out, &format!("Allowed: {}.", key.allowed));
            if key.name == SHIPPED.0 {
                let _ = writeln!(out, "{name} = {}", SHIPPED.1);
            } else {
                let _ = writeln!(out, "#{name} = {default}");
            }
        }
    }
    out
}

/// omrust-prog(8).
pub fn page() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut page = Page::new("OMRUST-PROG", "8", "System Manager's Manual");
    page.raw(&written(|out| Man::new(cli.clone()).render_name_section(out)));
    page.section("SYNOPSIS");
    page.raw("\\fB/usr/libexec/rsyslog/omrust\\-prog\\fR [\\fIoption\\fR ...]\n");
    page.section("DESCRIPTION");
    page.text(
        "`omrust-prog` is started by rsyslogd: `action(type=\"omprog\" binary=\"/usr/libexec/rsyslog/omrust-prog\" confirmMessages=\"on\" \
         useTransactions=\"on\" ...)`. It reads records from standard input, one a line, brings them into a Redis list, and answers on standard output. \
         central-omprog.conf, which is shipped with it, is a whole configuration with reasons.",
    );
    page.text(
        "Once rsyslogd was told OK, no record is lost, none comes twice, and all keep their order, through SIGKILL of the program, of rsyslogd and of Redis (with \
         appendfsync always). With a spool (spool.directory) OK means in Redis or on disk, and a transaction that Redis does not take in \
         spool.delay-ms goes to the disk. Without one rsyslog waits.",
    );
    page.section("PROTOCOL");
    page.text(
        "At the start OK, when there is somewhere to put records: at once with a spool, else when Redis answers. Inside a transaction DEFER_COMMIT to each \
         message; after its commit OK, or an error when prog.patience-seconds have passed. While an answer takes time, a dot now and then. All of it goes with any \
         beginTransactionMark and commitTransactionMark, with useTransactions=\"off\" (each message is then a transaction), and with confirmMessages=\"off\" \
         (nobody reads answers: then what lies in the pipe is lost if the program is killed).",
    );
    page.text(
        "What rsyslogd hands in again, after an error or after the program was killed, is told apart. Two records that are the same to the byte are told apart by how \
         often they come. A message that reads like a mark cannot be told from one, and is not delivered; nothing else suffers from it. So let no template begin \
         like a mark.",
    );
    page.text(
        "rsyslogd starts a program for each worker. Each takes the lowest number that is free, instance-0, instance-1 and so on in the folder of the instances, \
         and goes on where the last one of that number stopped; what a number has left that nobody takes again is brought away by the others.",
    );
    let arguments: Vec<&Arg> =
        cli.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())).collect();
    page.raw(&options(&arguments));
    page.section("EXIT STATUS");
    page.item("`0`", "The input has ended, or it was asked to end. With `--check`: all is good.");
    page.item("`1`", "It did not work. With `--check`: Redis cannot be used.");
    page.item("`2`", "The command line is wrong.");
    page.item("`78`", "The configuration is wrong. The message names the file, the line, the key and what is allowed.");
    page.section("SIGNALS");
    page.item(
        "`SIGHUP`, `SIGUSR1`, `SIGUSR2`",
        "All connections are made anew and the password is read again (hup.signal of the action).",
    );
    page.item(
        "`SIGTERM`, `SIGINT`",
        "What is in the pipe is still taken; then it ends within prog.close-timeout-ms. rsyslogd starts it again.",
    );
    page.item("`SIGKILL`", "Costs nothing: the next one goes on where this one was.");
    page.section("FILES");
    page.item(
        &format!("`{DEFAULT_FILE}`"),
        "The settings, see `omrust.toml`(5). It is read if `--config` is not given and it exists.",
    );
    page.item("`/var/lib/omrust`", "The folder of the instances and of the spool, as shipped.");
    page.item("`/etc/apparmor.d/rsyslog.d/omrust-prog.apparmor`", "What Ubuntu's profile of rsyslogd has to allow.");
    page.section("SEE ALSO");
    page.text("`omrust.toml`(5), `fifo-bridge`(8), `rsyslogd`(8), `rsyslog.conf`(5)");
    page.finish()
}
