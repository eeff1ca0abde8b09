//! fifo-bridge(8), from the struct that reads the command line.

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::Man;
use fifo_bridge::cli::{Cli, DEFAULT_FILE};

use super::roff::Page;

/// The page.
pub fn page() -> String {
    let mut cli = Cli::command();
    cli.build();
    let named = |command: &Command| command.get_name() != "help";
    let families: Vec<&Command> = cli.get_subcommands().filter(|command| named(command)).collect();
    let (plain, nested): (Vec<&Command>, Vec<&Command>) = families.into_iter().partition(|c| !c.has_subcommands());
    let common: Vec<&Arg> = own(plain[0]).filter(|arg| plain.iter().all(|c| has(c, arg))).collect();
    let members = nested.iter().flat_map(|family| {
        let members = family.get_subcommands().filter(|command| named(command));
        members.map(|command| (format!("{} {}", family.get_name(), command.get_name()), command))
    });
    let commands: Vec<(String, &Command)> =
        plain.iter().map(|command| (command.get_name().to_owned(), *command)).chain(members).collect();

    let mut page = Page::new("FIFO-BRIDGE", "8", "System Manager's Manual");
    page.raw(&written(|out| Man::new(cli.clone()).render_name_section(out)));
    synopsis(&mut page, &commands, &common);
    page.section("DESCRIPTION");
    page.text(
        "`fifo-bridge` reads the named pipe that rsyslog's `ompipe` writes, keeps the bytes in a spool, and pushes the records into a Redis list, \
         where any number of workers take them. It never waits for Redis before it reads the pipe, so rsyslog is not suspended when Redis is slow or absent.",
    );
    page.text(
        "From the pipe to the list no record is lost, none comes twice, and all keep their order, through SIGKILL of the bridge, of rsyslogd and of Redis \
         (with appendfsync always): a cursor beside the list moves in the same atomic step as the records.",
    );
    page.section("COMMANDS");
    for (name, command) in &commands {
        page.subsection(&format!("fifo-bridge {name}"));
        page.text(&format!("{}.", command.get_about().expect("each command says what it does")));
        let special: Vec<&Arg> = own(command).filter(|arg| !is_among(&common, arg)).collect();
        if !special.is_empty() {
            page.raw(&options(&special).replacen(".SH OPTIONS\n", "", 1));
        }
    }
    page.raw(&options(&common));
    page.text("Flags win over the file, the file wins over the defaults. Every setting is in `fifo-bridge.toml`(5).");
    rest(&mut page);
    page.finish()
}

fn synopsis(page: &mut Page, commands: &[(String, &Command)], common: &[&Arg]) {
    page.section("SYNOPSIS");
    for (index, (name, command)) in commands.iter().enumerate() {
        let special: Vec<String> = own(command)
            .filter(|arg| !is_among(common, arg))
            .map(|arg| match arg.get_long() {
                Some(long) => format!(" [\\fB\\-\\-{}\\fR]", long.replace('-', "\\-")),
                None => format!(" \\fI{}\\fR", arg.get_value_names().expect("it has a name")[0]),
            })
            .collect();
        let options = if common.iter().all(|arg| has(command, arg)) { " [\\fIoption\\fR ...]" } else { "" };
        if index > 0 {
            page.raw(".br\n");
        }
        page.raw(&format!("\\fBfifo\\-bridge {name}\\fR{}{options}\n", special.concat()));
    }
}

fn rest(page: &mut Page) {
    page.section("EXIT STATUS");
    page.item("`0`", "It worked. For `run`: it was stopped by a signal.");
    page.item(
        "`1`",
        "It did not work: Redis cannot be reached (`check`), no bridge answers (`status`), the spool is in use, a folder cannot be written, something is damaged or lost (`spool verify`).",
    );
    page.item("`2`", "The command line is wrong.");
    page.item(
        "`78`",
        "The configuration is wrong; a restart does not help. The message names the file, the line, the key and what is allowed. The same when something \
         that is no pipe stands at `fifo.path`.",
    );
    page.section("SIGNALS");
    page.item(
        "`SIGTERM`, `SIGINT`",
        "Stop reading the pipe, push what is in the spool for up to 5 seconds, leave the rest there for the next start, and exit with 0.",
    );
    page.item(
        "`SIGHUP`",
        "Read the configuration again. If it is bad, or changes a key that needs a restart, nothing changes and the log says why.",
    );
    page.item("`SIGKILL`", "Costs nothing: the next start goes on where this one was.");
    page.section("ENVIRONMENT");
    page.item(
        "`RUNTIME_DIRECTORY`",
        "Folder of the status socket and of a spool without a folder of its own. Without it: `/run/fifo-bridge`.",
    );
    page.item(
        "`CREDENTIALS_DIRECTORY`",
        "Where the file `redis-password` is looked for (LoadCredential= in `systemd.exec`(5)).",
    );
    page.item(
        "`LISTEN_FDS`, `NOTIFY_SOCKET`, `WATCHDOG_USEC`",
        "Set by systemd: the pipe that it holds, where it wants to be told that the bridge is ready and what it does, and how often it wants a sign of life.",
    );
    page.item(
        "`JOURNAL_STREAM`",
        "If it names standard error, as systemd sets it, log lines carry their level for the journal.",
    );
    page.section("FILES");
    page.item(
        &format!("`{DEFAULT_FILE}`"),
        "The settings, see `fifo-bridge.toml`(5). It is read if `--config` is not given and it exists.",
    );
    page.item("`/run/fifo-bridge/pipe`", "The pipe.");
    page.item(
        "`/run/fifo-bridge/status.sock`",
        "What `fifo-bridge status` asks. It is open to the bridge's own user and to root.",
    );
    page.item(
        "`/var/lib/fifo-bridge/spool`",
        "The spool and `dead-letters.jsonl`: the lines and records that cannot go into the list, each with its reason.",
    );
    page.section("SYSTEMD");
    page.text(
        "`fifo-bridge.socket` makes the pipe and holds it open, so that its content outlives the bridge and rsyslogd. `fifo-bridge.service` runs the bridge; \
         a write into the pipe starts it too. A restart of the service loses nothing, also under load.",
    );
    page.text(
        "To stop both while rsyslogd is writing, stop the socket first, in a command of its own. If one command stops both, systemd stops the service first, \
         and throws away what is written before it gets to the socket.",
    );
    page.example(&["systemctl stop fifo-bridge.socket", "systemctl stop fifo-bridge.service"]);
    page.text("A change of the socket unit takes effect with:");
    page.example(&["systemctl stop fifo-bridge.socket", "systemctl restart fifo-bridge.service"]);
    page.section("EXAMPLES");
    page.text("Is the configuration good, and does Redis take us?");
    page.example(&["fifo-bridge check"]);
    page.text("Without any file: another pipe, a Redis on a unix socket, another list.");
    page.example(&["fifo-bridge run --fifo /run/logs/pipe --server /run/redis/redis.sock --key jobs"]);
    page.text("A setting that has no flag of its own:");
    page.example(&["fifo-bridge run --set batch.records-max=250 --set queue.in-flight=16"]);
    page.text(
        "What rsyslog needs stands, with reasons, in `central-relp-pipe.conf` below `/usr/share/doc/fifo-bridge/examples`. Whether it works:",
    );
    page.example(&["logger -p local3.info hello", "redis-cli LRANGE rsyslog 0 -1"]);
    page.text("What a spool still holds, while nothing runs, and how it gets into Redis all the same:");
    page.example(&[
        "fifo-bridge spool verify /var/lib/fifo-bridge/spool",
        "fifo-bridge spool replay /var/lib/fifo-bridge/spool",
    ]);
    page.text("How many records wait:");
    page.example(&["fifo-bridge status --json | jq .unpushed_bytes,.list_length"]);
    page.section("SEE ALSO");
    page.text(
        "`fifo-bridge.toml`(5), `rsyslogd`(8), `rsyslog.conf`(5), `redis-server`(1), `systemd.socket`(5), `fifo`(7), `pipe`(7), `splice`(2)",
    );
}

/// The options of a command, without those that every program has.
fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_id() != "help" && arg.get_id() != "version")
}

fn has(command: &Command, arg: &Arg) -> bool {
    command.get_arguments().any(|other| other.get_id() == arg.get_id())
}

fn is_among(args: &[&Arg], arg: &Arg) -> bool {
    args.iter().any(|other| other.get_id() == arg.get_id())
}

/// clap's words on these options, as a section.
pub(super) fn options(args: &[&Arg]) -> String {
    let command = Command::new("fifo-bridge").disable_help_flag(true).args(args.iter().copied().cloned());
    written(|out| Man::new(command).render_options_section(out))
}

pub(super) fn written(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("a vector takes it");
    String::from_utf8(out).expect("text")
}
