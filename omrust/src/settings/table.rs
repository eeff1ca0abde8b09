//! Every parameter of `action(type="omrust" ...)`: the descriptors that rsyslogd is shown and the table in `docs/MODULE.md` are made
//! from this.

/// What a parameter is for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One of ours.
    Ours,
    /// Another name that omhiredis has for one of ours.
    Alias,
    /// Of omhiredis, or planned: what it asks for is refused with a sentence.
    Refused,
}

/// One parameter.
#[derive(Debug)]
pub struct Parameter {
    /// In lower case, as rsyslog wants it.
    pub name: &'static str,
    /// What it is for us.
    pub role: Role,
    /// True if it may be an array.
    pub several: bool,
    /// What holds when it is not given.
    pub default: &'static str,
    /// What may be given: this stands in error messages.
    pub allowed: &'static str,
    /// What it does; for a refused one, why not.
    pub text: &'static str,
}

const fn ours(name: &'static str, default: &'static str, allowed: &'static str, text: &'static str) -> Parameter {
    Parameter { name, role: Role::Ours, several: false, default, allowed, text }
}

const fn alias(name: &'static str, allowed: &'static str, text: &'static str) -> Parameter {
    Parameter { name, role: Role::Alias, several: false, default: "", allowed, text }
}

const fn refused(name: &'static str, allowed: &'static str, text: &'static str) -> Parameter {
    Parameter { name, role: Role::Refused, several: false, default: "", allowed, text }
}

const NO_ACKS: &str = "this module adds to streams; what others have read there it neither acknowledges nor deletes";
/// What is allowed for a parameter that asks for something whatever its value is.
pub const NOTHING: &str = "nothing: take it out";

/// All of them.
#[rustfmt::skip]
pub const PARAMETERS: &[Parameter] = &[
    Parameter { name: "server", role: Role::Ours, several: true, default: "127.0.0.1",
        allowed: "host, host:port, [IPv6]:port, /path/of/socket, redis://..., rediss://... or redis+unix://...; with sentinel.master, cluster or shard an array of them",
        text: "Where Redis is. With `sentinel.master` the Sentinels, with `cluster` some of the nodes, with `shard` all servers." },
    ours("serverport", "6379", "1 to 65535", "The port, if `server` names none. Sentinels have 26379 unless this is another."),
    ours("cluster", "off", "on or off; not with dynakey, and only with db=\"0\"",
        "`server` names nodes of a Redis Cluster; the others are learnt from them. With several `lanes` the lists are named so that they lie on all masters: see [Lanes on several servers](#lanes-on-several-servers)."),
    ours("shard", "off", "on or off; not with dynakey",
        "`server` is an array of Redis servers that know nothing of each other: lane 0 is on the first, lane 1 on the second, and so on in turn."),
    alias("socketpath", "/path/of/socket", "The unix socket of Redis, as omhiredis calls it. Not together with `server`."),
    ours("serveruser", "none", "a user of Redis' ACL", "The user to log in as."),
    ours("serverpassword", "none", "text", "The password. Whoever may read the configuration reads it: see `serverpassword.file`."),
    ours("serverpassword.file", "none", "the path of a file; a relative one is looked for in `$CREDENTIALS_DIRECTORY`",
        "A file with the password, read again at each connect. A line end behind the password is cut off."),
    ours("db", "0", "0 to 65535", "The database of Redis."),
    ours("sentinel.master", "none", "the name of a master",
        "The name of the master that the Sentinels watch. `server` is then the list of the Sentinels, and `serveruser`, `serverpassword` and `db` are the master's. They are asked at each connect."),
    ours("sentinel.user", "none", "a user of the Sentinels' ACL; only with sentinel.master", "The user to log in as at the Sentinels."),
    ours("sentinel.password", "none", "text; only with sentinel.master", "The password at the Sentinels, if they ask for one."),
    ours("sentinel.password.file", "none", "the path of a file; a relative one is looked for in `$CREDENTIALS_DIRECTORY`; only with sentinel.master",
        "A file with it, read again at each connect."),
    ours("ack", "memory", "memory, replica:N with N from 1 to 100, or aof",
        "When a push counts: when Redis answers; when N replicas have it as well (WAIT); when it is in the append-only file on the disk (WAITAOF: Redis 7.2 or later, `appendonly yes`). Before that rsyslog does not hear \"done\", unless the spool has it."),
    ours("tls", "off", "on or off", "TLS to Redis; a `rediss://` address switches it on as well. The server's certificate and its name are always checked."),
    ours("tls.cacert", "what the system trusts", "the path of a file or a folder; a relative one is looked for in `$CREDENTIALS_DIRECTORY`",
        "The certificates (PEM) of the CAs that the server's may be signed with. All files of TLS are read again at each connect."),
    ours("tls.mycert", "none", "the path of a file, with tls.myprivkey", "The client certificate (PEM), and those between it and its CA, for a server that asks for one."),
    ours("tls.myprivkey", "none", "the path of a file, with tls.mycert", "The key of the client certificate (PEM, without a passphrase)."),
    ours("tls.servername", "the host of `server`", "a host name or an IP address", "The name that the server's certificate has to be for."),
    alias("use_tls", "on or off", "omhiredis' name of `tls`."),
    alias("ca_cert_bundle", "the path of a file", "omhiredis' name of `tls.cacert`."),
    alias("ca_cert_dir", "the path of a folder", "omhiredis' name of `tls.cacert` for a folder. Both together are the CAs of both."),
    alias("client_cert", "the path of a file, with client_key", "omhiredis' name of `tls.mycert`."),
    alias("client_key", "the path of a file, with client_cert", "omhiredis' name of `tls.myprivkey`."),
    alias("sni", "a host name or an IP address", "omhiredis' name of `tls.servername`."),
    ours("connecttimeout", "1000", "1 to 60000, in milliseconds", "How long looking up the name, connecting and logging in may take."),
    ours("timeout", "5000", "1 to 60000, in milliseconds",
        "How long Redis may take for a batch when there is no spool. With one, `spool.delay` decides."),
    ours("key", "required", "1 to 512 bytes; braces only as a hash tag", "The list. With `dynakey`, the name of a template that renders the list's name."),
    ours("dynakey", "off", "on or off", "`key` is the name of a template: each message goes into the list that it names."),
    ours("key.prefix", "none", "the beginning of a list's name; only with dynakey=\"on\"",
        "With `dynakey`: what the list's name must begin with. A message whose list does not is parked as a dead letter. Set it whenever senders have a say in the name."),
    ours("push", "right", "right or left", "The end of the list: right is RPUSH, for workers that LPOP; left is LPUSH. A stream has no left end."),
    alias("userpush", "on or off", "omhiredis' name: on is push=\"right\", off is push=\"left\"."),
    ours("mode", "a list", "queue or stream",
        "What `key` is. stream: a stream of Redis' (XADD, Redis 5 or later), see [STREAMS.md](STREAMS.md). queue: a list, as without this parameter, but said with omhiredis' word for it, which brings omhiredis' default with it: push=\"left\". Its other modes are refused."),
    ours("stream.field", "msg", "1 to 128 bytes; only with mode=\"stream\"", "The name of the one field of each entry. Its value is the record."),
    alias("stream.outfield", "1 to 128 bytes; only with mode=\"stream\"", "omhiredis' name of `stream.field`."),
    ours("stream.maxlen", "0", "0 to 1000000000000, 0 is never; only with mode=\"stream\" and without maxlength",
        "Redis **throws away** the oldest entries of a stream that is longer than this, also those that nobody has read (MAXLEN ~: a hundred or so more may stay). It is the one parameter that gives up records."),
    alias("stream.capacitylimit", "0 to 1000000000000, 0 is never; only with mode=\"stream\" and without maxlength", "omhiredis' name of `stream.maxlen`."),
    ours("template", "RSYSLOG_ForwardFormat", "the name of a template", "What a record is."),
    ours("lanes", "1", "1 to 1024; with shard at least as many as servers",
        "How many lists the records are spread over: `key:0`, `key:1`, ... Each keeps the order of its streams. One lane is `key` itself."),
    ours("lane.template", "none", "the name of a template; needed when lanes is more than 1",
        "What tells streams apart, `%hostname%` for example. The same text always goes to the same lane."),
    ours("maxlength", "0", "0 to 1000000000000; 0 is none",
        "High water of each list. When a push finds a list so long, it is held back until workers have brought it down to four fifths of that: its messages go into the spool, or, without one or when it is full, wait in rsyslog's queue. Other lists are filled meanwhile. What is under way still arrives: the list becomes at most one batch per worker longer, and one batch and 1024 records more while the spool is emptied. Nothing is ever taken out of it. The user needs LLEN (a stream: XLEN, and workers that take out with XDEL what they are done with)."),
    ours("statsname", "the action's name, else omrust", "text", "The name of the object in impstats, and of the action in log lines."),
    ours("name", "omrust", "text", "rsyslog's own name of the action. Two actions need two names: they are part of `producer`."),
    ours("producer", "HOST:NAME", "1 to 500 bytes, unique among all who fill the list",
        "Whose cursor it is, in Redis, beside the list. The default is the host's name and the action's. Two machines with one host name need two producers."),
    ours("spool.directory", "none", "the path of a folder that this action has for itself",
        "Where batches go that Redis does not take in time. Without it the action is suspended, and rsyslog keeps the messages in its queue."),
    ours("spool.maxsize", "1g", "1m to 1024g; k, m, g and t are powers of 1024", "How much the spool may hold. When it is full, the action is suspended."),
    ours("spool.delay", "500", "1 to 60000, in milliseconds", "How long Redis may take for a batch before it goes into the spool."),
    ours("spool.sync", "always", "always, interval or none", "When the spool is forced to the disk: before rsyslog hears \"done\", once a second, or never."),
    ours("deadletter", "the spool's folder", "the path of a folder", "Where records go that Redis will never take, in `dead-letters.jsonl`, each with its reason."),
    ours("onrefused", "dead-letter", "dead-letter or hold",
        "What to do with records that Redis refuses for good: a key of another type, no permission for it. dead-letter parks them (without a folder rsyslog is told that they failed, and writes them to `action.errorFile`); hold waits."),
    refused("expiration", NOTHING, "records do not expire"),
    refused("stream.ack", NOTHING, NO_ACKS),
    refused("stream.del", NOTHING, NO_ACKS),
    refused("stream.keyack", NOTHING, NO_ACKS),
    refused("stream.dynakeyack", NOTHING, NO_ACKS),
    refused("stream.groupack", NOTHING, NO_ACKS),
    refused("stream.dynagroupack", NOTHING, NO_ACKS),
    refused("stream.indexack", NOTHING, NO_ACKS),
    refused("stream.dynaindexack", NOTHING, NO_ACKS),
];

/// The parameter of this name.
pub fn find(name: &str) -> &'static Parameter {
    PARAMETERS.iter().find(|parameter| parameter.name == name).expect("a parameter that is in the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_rsyslog_wants_them() {
        for (index, parameter) in PARAMETERS.iter().enumerate() {
            assert_eq!(parameter.name, parameter.name.to_lowercase());
            assert!(PARAMETERS[..index].iter().all(|other| other.name != parameter.name), "{} twice", parameter.name);
            assert!(!parameter.allowed.is_empty() && !parameter.text.is_empty());
        }
    }
}
