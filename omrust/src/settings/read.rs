//! From parameters to settings, with every error that there is.

use std::path::PathBuf;
use std::time::Duration;

use delivery::limits::PRODUCER_BYTES_MAX;
use delivery::link::Ack;
use delivery::outlet::OnRefused;
use delivery::push::Names;
use delivery::spool::Sync;

use super::mode;
use super::table::{NOTHING, PARAMETERS, Role};
use super::values::wrong;
use super::{Key, Secret, Secrets, Sentinel, Server, Settings, SpoolSettings, Tls, Values};

/// What a worker's number adds to the producer's name, at most.
const SLOT_BYTES: usize = ":65535".len();

const SYNC_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn settings(values: &Values, host: &str) -> Result<Settings, Vec<String>> {
    let mut errors = Vec::new();
    let mut remarks = Vec::new();
    refuse(values, &mut errors);

    let action = values.text("name", &mut errors);
    let statsname = values.text("statsname", &mut errors);
    let identity = action.clone().or_else(|| statsname.clone()).unwrap_or_else(|| "omrust".into());
    let name = statsname.or(action).unwrap_or_else(|| "omrust".into());
    let producer = producer(values, host, &identity, &mut errors);

    let server = server(values, &mut remarks, &mut errors);
    let mode = mode::mode(values, &mut remarks, &mut errors);
    let key = key(values, &producer, &mut remarks, &mut errors);
    let lanes = values.number("lanes", (1, 1, 1024), &mut errors) as u32;
    let lane_template = lane_template(values, lanes, &mut errors);
    let spool = spool(values, &mut errors);
    let dead_letters = folder(values, "deadletter", &mut errors).or_else(|| Some(spool.as_ref()?.directory.clone()));
    let words = [("dead-letter", OnRefused::DeadLetter), ("hold", OnRefused::Hold)];
    let on_refused = values.word("onrefused", &words, &mut errors).unwrap_or(OnRefused::DeadLetter);
    let settings = Settings {
        name,
        server,
        key,
        mode,
        template: values.text("template", &mut errors).unwrap_or_else(|| "RSYSLOG_ForwardFormat".into()),
        lanes,
        lane_template,
        producer,
        timeout: milliseconds(values, "timeout", 5_000, &mut errors),
        spool,
        dead_letters,
        on_refused,
        max_length: values.number("maxlength", (0, 0, 1_000_000_000_000), &mut errors),
        remarks,
    };
    spread(&settings, &mut errors);
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

/// What is asked for by name and not there. A value that asks for nothing is fine.
fn refuse(values: &Values, errors: &mut Vec<String>) {
    for parameter in PARAMETERS.iter().filter(|parameter| parameter.role == Role::Refused) {
        let texts = values.texts(parameter.name, errors);
        if values.has(parameter.name)
            && (parameter.allowed == NOTHING || !texts.iter().all(|text| text.eq_ignore_ascii_case(parameter.allowed)))
        {
            errors.push(wrong(parameter.name, &format!("asks for what is not there: {}", parameter.text)));
        }
    }
}

pub(super) fn contradict(values: &Values, one: &str, other: &str, errors: &mut Vec<String>) {
    if values.has(one) && values.has(other) {
        errors.push(wrong(other, &format!("says what \"{one}\" says; set one of them")));
    }
}

fn producer(values: &Values, host: &str, identity: &str, errors: &mut Vec<String>) -> String {
    let given = values.text("producer", errors);
    let name = if given.is_some() { "producer" } else { "name" };
    let producer = given.unwrap_or_else(|| format!("{host}:{identity}"));
    if producer.len() + SLOT_BYTES > PRODUCER_BYTES_MAX {
        errors.push(wrong(name, "is too long"));
    }
    producer
}

fn server(values: &Values, remarks: &mut Vec<String>, errors: &mut Vec<String>) -> Server {
    contradict(values, "server", "socketpath", errors);
    contradict(values, "serverpassword", "serverpassword.file", errors);
    let mut servers = values.texts("server", errors);
    let mut name = "server";
    if let Some(socket) = values.text("socketpath", errors) {
        name = "socketpath";
        if !socket.starts_with('/') {
            errors.push(wrong(name, "is no absolute path"));
        }
        servers = vec![socket];
    } else if !values.has(name) {
        servers = vec!["127.0.0.1".into()];
    }
    let server = Server {
        addresses: Secrets(servers),
        port: values.number("serverport", (6379, 1, 65_535), errors) as u16,
        db: values.number("db", (0, 0, 65_535), errors) as u32,
        user: values.text("serveruser", errors).unwrap_or_default(),
        password: Secret(values.text("serverpassword", errors).unwrap_or_default()),
        password_file: values.text("serverpassword.file", errors).map(PathBuf::from),
        ack: ack(values, errors),
        sentinel: sentinel(values, errors),
        tls: Tls::read(values, errors),
        connect_timeout: milliseconds(values, "connecttimeout", 1_000, errors),
        cluster: values.switch("cluster", errors).unwrap_or(false),
        shard: values.switch("shard", errors).unwrap_or(false),
    };
    if server.cluster && server.shard {
        errors.push(wrong(
            "shard",
            "and cluster=\"on\" contradict each other: the nodes of a cluster share the lanes by themselves",
        ));
    }
    if server.sentinel.is_some() && (server.cluster || server.shard) {
        let other = if server.cluster { "cluster" } else { "shard" };
        errors
            .push(wrong("sentinel.master", &format!("contradicts {other}: the servers are Sentinels or they are not")));
    }
    if server.cluster && server.db != 0 {
        errors.push(wrong("db", "is not 0, and a cluster has database 0 only"));
        return server;
    }
    match server.plain_endpoint(server.connect_timeout) {
        Err(why) => errors.push(wrong(name, &why)),
        Ok(endpoint) => server.tls.judge(values, endpoint, name, remarks, errors),
    }
    server
}

fn ack(values: &Values, errors: &mut Vec<String>) -> Ack {
    let Some(text) = values.text("ack", errors) else { return Ack::Memory };
    text.parse().unwrap_or_else(|_| {
        errors.push(wrong("ack", &format!("is {text:?}")));
        Ack::Memory
    })
}

fn sentinel(values: &Values, errors: &mut Vec<String>) -> Option<Sentinel> {
    contradict(values, "sentinel.password", "sentinel.password.file", errors);
    for name in ["sentinel.user", "sentinel.password", "sentinel.password.file"] {
        if values.has(name) && !values.has("sentinel.master") {
            errors.push(wrong(name, "is of no use without sentinel.master"));
        }
    }
    Some(Sentinel {
        master: values.text("sentinel.master", errors)?,
        user: values.text("sentinel.user", errors).unwrap_or_default(),
        password: Secret(values.text("sentinel.password", errors).unwrap_or_default()),
        password_file: values.text("sentinel.password.file", errors).map(PathBuf::from),
    })
}

/// What lanes on several servers ask for.
fn spread(settings: &Settings, errors: &mut Vec<String>) {
    let server = &settings.server;
    let name = if server.cluster { "cluster" } else { "shard" };
    if !server.cluster && !server.shard {
        return;
    }
    if matches!(settings.key, Key::Template { .. }) {
        errors.push(wrong(
            name,
            "is not for dynakey=\"on\": a list that a message names may be on any server, and each server needs a spool of its own",
        ));
        return;
    }
    if server.shard && settings.lanes < server.addresses.0.len() as u32 {
        errors.push(wrong("lanes", "is less than there are servers: some of them would get nothing"));
    }
    if let Err(why) = settings.lists() {
        errors.push(wrong("key", &why));
    }
    if let Some(spool) = &settings.spool
        && spool.bytes_max / u64::from(settings.lanes) < 1 << 20
    {
        errors.push(wrong("spool.maxsize", "is less than 1m for each lane"));
    }
}

fn key(values: &Values, producer: &str, remarks: &mut Vec<String>, errors: &mut Vec<String>) -> Key {
    let dynakey = values.switch("dynakey", errors).unwrap_or(false);
    let prefix = values.text("key.prefix", errors);
    let Some(key) = values.text("key", errors) else {
        if !values.has("key") {
            errors.push(wrong("key", "is missing"));
        }
        return Key::List(String::new());
    };
    if !dynakey {
        if prefix.is_some() {
            errors.push(wrong("key.prefix", "is of no use without dynakey=\"on\""));
        }
        // The producer's own length is judged elsewhere.
        if key.len() > 512 {
            errors.push(wrong("key", "is too long"));
        } else if let (Err(why), true) = (Names::new(&key, producer), producer.len() <= PRODUCER_BYTES_MAX) {
            errors.push(wrong("key", &format!("makes no list: {why}")));
        }
        return Key::List(key);
    }
    if prefix.is_none() {
        remarks.push(
            "dynakey=\"on\" without key.prefix: whoever has a say in the template's text chooses any list".into(),
        );
    }
    Key::Template { template: key, prefix: prefix.unwrap_or_default() }
}

fn lane_template(values: &Values, lanes: u32, errors: &mut Vec<String>) -> Option<String> {
    let template = values.text("lane.template", errors);
    if lanes > 1 && !values.has("lane.template") {
        errors.push(wrong("lane.template", "is missing, and there is more than one lane"));
    }
    if lanes == 1 && template.is_some() {
        errors.push(wrong("lane.template", "is of no use with one lane"));
    }
    if lanes > 1 && values.switch("dynakey", &mut Vec::new()) == Some(true) {
        errors.push(wrong("lanes", "is not for dynakey=\"on\", whose template chooses the list already"));
    }
    template
}

fn spool(values: &Values, errors: &mut Vec<String>) -> Option<SpoolSettings> {
    let directory = folder(values, "spool.directory", errors);
    for name in ["spool.maxsize", "spool.delay", "spool.sync"] {
        if values.has(name) && !values.has("spool.directory") {
            errors.push(wrong(name, "is of no use without spool.directory"));
        }
    }
    let words = [("always", Sync::Always), ("interval", Sync::Interval(SYNC_INTERVAL)), ("none", Sync::Never)];
    let settings = SpoolSettings {
        directory: directory.clone().unwrap_or_default(),
        bytes_max: values.size("spool.maxsize", (1 << 30, 1 << 20, 1 << 40), errors),
        delay: milliseconds(values, "spool.delay", 500, errors),
        sync: values.word("spool.sync", &words, errors).unwrap_or(Sync::Always),
    };
    directory.map(|_| settings)
}

fn folder(values: &Values, name: &str, errors: &mut Vec<String>) -> Option<PathBuf> {
    let folder = PathBuf::from(values.text(name, errors)?);
    if !folder.is_absolute() {
        errors.push(wrong(name, "is no absolute path, and rsyslogd's own folder is /"));
    }
    Some(folder)
}

fn milliseconds(values: &Values, name: &str, default: u64, errors: &mut Vec<String>) -> Duration {
    Duration::from_millis(values.number(name, (default, 1, 60_000), errors))
}

#[cfg(test)]
mod tests {
    use super::super::table::find;
    use super::super::values::Given;
    use super::*;
    use delivery::push::{Entry, Side};

    fn read(given: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let mut values = Values::default();
        for (name, text) in given {
            values.put(find(name).name, Given::Text(text.as_bytes().to_vec()));
        }
        settings(&values, "host")
    }

    #[test]
    fn a_key_is_enough() {
        let settings = read(&[("key", "logs")]).expect("good");
        assert_eq!(settings.key, Key::List("logs".into()));
        assert_eq!(
            (settings.mode.clone(), settings.lanes, settings.producer.as_str()),
            (Side::Right.into(), 1, "host:omrust")
        );
        assert_eq!(settings.templates(), ["RSYSLOG_ForwardFormat"]);
        assert_eq!((settings.spool, settings.dead_letters), (None, None));
        assert!(settings.remarks.is_empty());
    }

    #[test]
    fn every_parameter_has_a_value_that_is_good() {
        let good = |name: &'static str| match name {
            "server" => "redis://u:secret@h:1/3",
            "sni" | "tls.servername" => "redis.example.net",
            "socketpath" | "spool.directory" | "deadletter" => "/run/x",
            "serverport" | "db" | "timeout" | "connecttimeout" | "spool.delay" => "7",
            "dynakey" | "userpush" | "cluster" | "tls" | "use_tls" => "on",
            "shard" => "off",
            "push" => "left",
            "mode" => "queue",
            "lanes" => "1",
            "maxlength" | "stream.maxlen" | "stream.capacitylimit" => "1000",
            "stream.field" | "stream.outfield" => "log",
            "ack" => "replica:2",
            "spool.maxsize" => "64m",
            "spool.sync" => "interval",
            "onrefused" => "hold",
            other => find(other).allowed,
        };
        for parameter in PARAMETERS {
            let mut given = vec![(parameter.name, good(parameter.name))];
            match parameter.name {
                "key" => given.clear(),
                "key.prefix" => given.push(("dynakey", "on")),
                "tls.cacert" | "ca_cert_bundle" | "ca_cert_dir" | "tls.servername" | "sni" => given.push(("tls", "on")),
                "tls.mycert" => given.extend([("tls", "on"), ("tls.myprivkey", "/k")]),
                "tls.myprivkey" => given.extend([("tls", "on"), ("tls.mycert", "/c")]),
                "client_cert" => given.extend([("use_tls", "on"), ("client_key", "/k")]),
                "client_key" => given.extend([("use_tls", "on"), ("client_cert", "/c")]),
                "lane.template" => given.push(("lanes", "4")),
                "stream.field" | "stream.outfield" | "stream.maxlen" | "stream.capacitylimit" => {
                    given.push(("mode", "stream"));
                }
                "sentinel.user" | "sentinel.password" | "sentinel.password.file" => {
                    given.push(("sentinel.master", "m"));
                }
                "spool.maxsize" | "spool.delay" | "spool.sync" => given.push(("spool.directory", "/s")),
                _ => {}
            }
            given.push(("key", "k"));
            let errors = read(&given).err().unwrap_or_default();
            let asks = parameter.allowed == NOTHING;
            assert_eq!(errors.is_empty(), !asks, "{}: {errors:?}", parameter.name);
        }
    }

    #[test]
    fn every_error_names_its_parameter_and_what_is_allowed() {
        let bad: &[(&str, &str)] = &[
            ("server", ""),
            ("server", "rediss://h/#insecure"),
            ("socketpath", "sock"),
            ("serverport", "65536"),
            ("db", "-1"),
            ("connecttimeout", "0"),
            ("timeout", "soon"),
            ("key", "a}b"),
            ("key", ""),
            ("dynakey", "perhaps"),
            ("key.prefix", "p"),
            ("push", "up"),
            ("userpush", "up"),
            ("mode", "publish"),
            ("template", ""),
            ("lanes", "1025"),
            ("lanes", "4"),
            ("lane.template", "t"),
            ("statsname", " "),
            ("producer", "\n"),
            ("spool.directory", "relative"),
            ("spool.maxsize", "1"),
            ("spool.delay", "5"),
            ("spool.sync", "sometimes"),
            ("deadletter", "relative"),
            ("onrefused", "drop"),
            ("maxlength", "-5"),
            ("ack", "replica:0"),
            ("expiration", "5"),
            ("stream.field", "log"),
            ("stream.outfield", "log"),
            ("stream.maxlen", "5"),
            ("stream.capacitylimit", "5"),
            ("stream.del", "off"),
            ("tls", "maybe"),
            ("tls.cacert", "/no-tls"),
            ("client_key", "/no-tls"),
            ("sni", "no-tls"),
            ("sentinel.master", ""),
            ("sentinel.user", "u"),
            ("sentinel.password", "p"),
            ("sentinel.password.file", "/p"),
            ("cluster", "perhaps"),
            ("shard", "perhaps"),
        ];
        for (name, text) in bad {
            let mut given = vec![(*name, *text)];
            if *name != "key" {
                given.push(("key", "k"));
            }
            let errors = read(&given).expect_err(name);
            // More lanes want a template, and that is where the error is.
            let named = if (*name, *text) == ("lanes", "4") { "lane.template" } else { name };
            let told = errors
                .iter()
                .any(|error| error.contains(&format!("\"{named}\"")) && error.contains(find(named).allowed));
            assert!(told, "{name}={text:?}: {errors:?}");
        }
        assert!(read(&[]).expect_err("no key")[0].contains("\"key\" is missing"));
    }

    #[test]
    fn lanes_on_several_servers_have_their_conditions() {
        let with = |servers: &[&str], more: &[(&'static str, &str)]| {
            let mut values = Values::default();
            values.put("server", Given::Texts(servers.iter().map(|server| server.as_bytes().to_vec()).collect()));
            for (name, text) in [("key", "logs"), ("lane.template", "t")].iter().chain(more) {
                values.put(find(name).name, Given::Text(text.as_bytes().to_vec()));
            }
            settings(&values, "host")
        };
        let good = with(&["a", "b"], &[("shard", "on"), ("lanes", "4")]).expect("good");
        assert_eq!(good.lists().expect("lists"), ["logs:0", "logs:1", "logs:2", "logs:3"]);
        let good = with(&["a", "b"], &[("cluster", "on"), ("lanes", "3")]).expect("good");
        assert_eq!(good.lists().expect("lists").len(), 3);
        for (named, more) in [
            ("lanes", &[("shard", "on"), ("lanes", "1")][..]),
            ("shard", &[("shard", "on"), ("cluster", "on"), ("lanes", "4")]),
            ("db", &[("cluster", "on"), ("lanes", "4"), ("db", "1")]),
            ("spool.maxsize", &[("cluster", "on"), ("lanes", "4"), ("spool.directory", "/s"), ("spool.maxsize", "2m")]),
            ("server", &[("lanes", "4")]),
        ] {
            let errors = with(&["a", "b"], more).expect_err(named);
            assert!(errors.iter().any(|error| error.contains(&format!("\"{named}\""))), "{named}: {errors:?}");
        }
        let tagged = [("key", "{app}:logs"), ("cluster", "on"), ("lanes", "4"), ("lane.template", "t")];
        assert!(read(&tagged).expect_err("one slot")[0].contains("\"key\""));
        let dynamic = [("key", "t"), ("cluster", "on"), ("dynakey", "on")];
        assert!(read(&dynamic).expect_err("any node")[0].contains("\"cluster\""));
    }

    #[test]
    fn no_error_and_no_debug_output_shows_a_password() {
        let secrets = [
            ("key", "k"),
            ("server", "redis://user:secret@h:x"),
            ("serverpassword", "secret"),
            ("serverpassword.file", "/secret"),
        ];
        let errors = read(&secrets).expect_err("wrong");
        assert!(errors.iter().all(|error| !error.contains("secret")), "{errors:?}");
        let settings =
            read(&[("key", "k"), ("serverpassword", "secret"), ("server", "redis://u:secret@h")]).expect("good");
        assert!(!format!("{settings:?}").contains("secret"), "{settings:?}");
    }

    #[test]
    fn omhiredis_words_mean_what_they_meant() {
        let mode = |given: &[(&str, &str)]| read(&[&[("key", "k")], given].concat()).expect("good").mode;
        assert_eq!(mode(&[("mode", "queue")]), Side::Left.into());
        assert_eq!(mode(&[("mode", "queue"), ("userpush", "on")]), Side::Right.into());
        assert_eq!(mode(&[("userpush", "off")]), Side::Left.into());
        assert_eq!(mode(&[("mode", "queue"), ("push", "right")]), Side::Right.into());
        let entry = |given: &[(&str, &str)]| mode(given).entry().expect("a stream").clone();
        assert_eq!(entry(&[("mode", "stream")]), Entry { field: "msg".into(), max_entries: 0 });
        let named =
            [("mode", "Stream"), ("stream.outfield", "log"), ("stream.capacitylimit", "128"), ("userpush", "on")];
        assert_eq!(entry(&named), Entry { field: "log".into(), max_entries: 128 });
        let dynamic = read(&[("mode", "queue"), ("key", "tpl"), ("dynakey", "on"), ("userpush", "on")]).expect("good");
        assert_eq!(dynamic.templates(), ["RSYSLOG_ForwardFormat", "tpl"]);
        assert_eq!(dynamic.remarks.len(), 1, "no prefix");
    }

    #[test]
    fn a_stream_has_its_conditions() {
        for (named, more) in [
            ("push", &[("push", "left")][..]),
            ("userpush", &[("userpush", "off")]),
            ("stream.field", &[("stream.field", "a\tb")]),
            ("stream.outfield", &[("stream.field", "a"), ("stream.outfield", "b")]),
            ("stream.capacitylimit", &[("stream.maxlen", "1"), ("stream.capacitylimit", "1")]),
            ("stream.maxlen", &[("stream.maxlen", "many")]),
            ("stream.maxlen", &[("stream.maxlen", "5"), ("maxlength", "5")]),
        ] {
            let errors = read(&[&[("key", "k"), ("mode", "stream")], more].concat()).expect_err(named);
            assert!(errors.iter().any(|error| error.contains(&format!("\"{named}\""))), "{named}: {errors:?}");
        }
        let spread = [("key", "k"), ("mode", "stream"), ("lanes", "4"), ("lane.template", "t"), ("maxlength", "9")];
        assert!(read(&spread).expect("good").mode.entry().is_some());
    }

    #[test]
    fn dead_letters_lie_in_the_spool_unless_a_folder_is_given() {
        let letters = |given: &[(&str, &str)]| read(&[&[("key", "k")], given].concat()).expect("good").dead_letters;
        assert_eq!(letters(&[("spool.directory", "/s")]), Some("/s".into()));
        assert_eq!(letters(&[("spool.directory", "/s"), ("deadletter", "/d")]), Some("/d".into()));
    }
}
