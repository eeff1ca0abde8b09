//! The section `redis`: its keys in the words of the manual, its checks, and the login.

use std::path::{Path, PathBuf};
use std::time::Duration;

use delivery::link::{Address, Endpoint, TlsFiles, Topology, WrongTls};

use crate::checks::{Invalid, invalid, within};
use crate::key::{Key, key};
use crate::sections::{Redis, Tls};

/// `redis.server`
pub const SERVER: Key = key(
    "redis.server",
    "host, host:port, [v6]:port, /path/of/socket, redis://…, rediss://…, unix://…",
    true,
    "Where Redis is. With redis.sentinel-master an array of such, the Sentinels.",
);
/// `redis.port`
pub const PORT: Key = key(
    "redis.port",
    "1 to 65535",
    true,
    "The port, if redis.server names none. Sentinels have 26379 unless this is set to another.",
);
/// `redis.user`
pub const USER: Key = key("redis.user", "text", true, "ACL user; empty is the default user.");
/// `redis.password`
pub const PASSWORD: Key = key(
    "redis.password",
    "text",
    true,
    "Password. A file is better: this one can be read by whoever reads the configuration.",
);
/// `redis.password-file`
pub const PASSWORD_FILE: Key = key(
    "redis.password-file",
    "path",
    true,
    "File that holds the password; a line end behind it is taken off. It is read again at each connect. If neither this nor \
     redis.password is set, the file redis-password in $CREDENTIALS_DIRECTORY is used if it exists (systemd's LoadCredential=).",
);
/// `redis.db`
pub const DB: Key = key("redis.db", "0 to 4294967295", true, "Number of the database.");
/// `redis.sentinel-master`
pub const SENTINEL_MASTER: Key = key(
    "redis.sentinel-master",
    "text",
    true,
    "The name of the master that the Sentinels watch. redis.server is then the list of the Sentinels; user, password and db are those of the master. \
     They are asked at each connect, the one that answered last first. What may be lost when a replica is promoted: docs/DELIVERY.md.",
);
/// `redis.sentinel-user`
pub const SENTINEL_USER: Key =
    key("redis.sentinel-user", "text", true, "ACL user at the Sentinels; empty is their default user.");
/// `redis.sentinel-password`
pub const SENTINEL_PASSWORD: Key =
    key("redis.sentinel-password", "text", true, "Password at the Sentinels, if they ask for one.");
/// `redis.sentinel-password-file`
pub const SENTINEL_PASSWORD_FILE: Key = key(
    "redis.sentinel-password-file",
    "path",
    true,
    "File that holds it, read again at each connect. If neither is set, the file redis-sentinel-password in $CREDENTIALS_DIRECTORY is used if it exists.",
);
/// `redis.ack`
pub const ACK: Key = key(
    "redis.ack",
    "memory, replica:N with N from 1 to 100, or aof",
    true,
    "When a push counts: with memory when Redis answers; with replica:N when N replicas have it as well (WAIT); with aof when it is in the append-only \
     file on the disk (WAITAOF, Redis 7.2 or later with appendonly yes). Until then the records are kept, and no more than is under way is pushed behind them. \
     What each is worth: docs/DELIVERY.md.",
);
/// `redis.tls.enabled`
pub const TLS_ENABLED: Key = key(
    "redis.tls.enabled",
    "true or false",
    true,
    "TLS to Redis. A rediss:// address switches it on as well. The server's certificate and its name are always checked.",
);
/// `redis.tls.ca-cert`
pub const TLS_CA_CERT: Key = key(
    "redis.tls.ca-cert",
    "path",
    true,
    "File (PEM), or folder of such files, with the certificates of the CAs that the server's certificate may be signed with. Empty: the CAs that \
     the system trusts (on Debian the package ca-certificates). All files of TLS are read again at each connect. A relative path is looked for in \
     $CREDENTIALS_DIRECTORY.",
);
/// `redis.tls.cert`
pub const TLS_CERT: Key = key(
    "redis.tls.cert",
    "path",
    true,
    "File with the client certificate (PEM), and those between it and its CA. Only for a server that asks for one; with redis.tls.key.",
);
/// `redis.tls.key`
pub const TLS_KEY: Key =
    key("redis.tls.key", "path", true, "File with the key of the client certificate (PEM, without a passphrase).");
/// `redis.tls.server-name`
pub const TLS_SERVER_NAME: Key = key(
    "redis.tls.server-name",
    "host name or IP address",
    true,
    "The name that the server's certificate has to be for. Empty: the host of redis.server.",
);
/// `redis.connect-timeout-ms`
pub const CONNECT_TIMEOUT: Key = key(
    "redis.connect-timeout-ms",
    "10 to 60000",
    true,
    "Milliseconds that looking up the name, connecting and logging in may take.",
);
/// `redis.timeout-ms`
pub const TIMEOUT: Key = key(
    "redis.timeout-ms",
    "10 to 600000",
    true,
    "Milliseconds that the answer to a push may take. After it the connection is given up and the push repeated; Redis tells a repeat apart.",
);

/// `redis.cluster`
pub const CLUSTER: Key = key(
    "redis.cluster",
    "true or false",
    true,
    "true: redis.server names nodes of a Redis Cluster, and the others are learnt from them. The list is pushed to whichever node serves it. Only with \
     redis.db = 0.",
);
/// `redis.shard`
pub const SHARD: Key = key(
    "redis.shard",
    "true or false",
    true,
    "true: redis.server is an array of servers that know nothing of each other, and the lanes are dealt out to them in turn.",
);

/// What the servers are to each other.
pub fn topology(redis: &Redis) -> Topology {
    match (redis.sentinel_master.as_str(), redis.cluster, redis.shard) {
        (_, true, _) => Topology::Cluster,
        (_, _, true) => Topology::Shards,
        ("", ..) => Topology::Direct,
        (master, ..) => Topology::Sentinel { master: master.to_owned() },
    }
}

/// The endpoint without a login.
pub fn endpoint(redis: &Redis) -> Result<Endpoint, Invalid> {
    if redis.port == 0 {
        return invalid("redis.port", "0 is not allowed; 1 to 65535");
    }
    let connect = within("redis.connect-timeout-ms", redis.connect_timeout_ms, 10, 60_000)?;
    let timeout = within("redis.timeout-ms", redis.timeout_ms, 10, 600_000)?;
    if !redis.password.is_empty() && !redis.password_file.is_empty() {
        return invalid("redis.password-file", "contradicts redis.password; set one of them");
    }
    sentinels(redis)?;
    let ack = redis.ack.parse().map_err(|why| Invalid { key: "redis.ack", why, other: None })?;
    if redis.cluster && redis.shard {
        return invalid(
            "redis.shard",
            "contradicts redis.cluster; the nodes of a cluster share the lanes by themselves",
        );
    }
    if redis.cluster && redis.db != 0 {
        return invalid(
            "redis.db",
            format!("{} is not allowed with redis.cluster: a cluster has database 0 only", redis.db),
        );
    }
    let address = Address { servers: &redis.server.0, port: redis.port, db: redis.db, topology: topology(redis) };
    let endpoint = Endpoint::parse(address, Duration::from_millis(connect), Duration::from_millis(timeout));
    let endpoint = endpoint.map_err(|why| Invalid { key: "redis.server", why, other: None })?;
    secured(endpoint.with_ack(ack), redis)
}

/// The same with TLS, if that is wanted.
fn secured(endpoint: Endpoint, redis: &Redis) -> Result<Endpoint, Invalid> {
    let files = tls_files(&redis.tls);
    if redis.tls.enabled || endpoint.is_secure() {
        let wrong = |why: WrongTls| match why {
            WrongTls::Socket => ("redis.tls.enabled", "is not for a unix socket".to_owned()),
            WrongTls::LacksKey => ("redis.tls.cert", "is of no use without redis.tls.key".to_owned()),
            WrongTls::LacksCert => ("redis.tls.key", "is of no use without redis.tls.cert".to_owned()),
            WrongTls::Name(name) if redis.tls.server_name.is_empty() => (
                "redis.server",
                format!("has the host {name:?}, and no certificate is for such a name; set redis.tls.server-name"),
            ),
            WrongTls::Name(name) => {
                ("redis.tls.server-name", format!("{name:?} is not allowed; a host name or an IP address"))
            }
        };
        return endpoint.with_tls(files).map_err(wrong).map_err(|(key, why)| Invalid { key, why, other: None });
    }
    let idle = [
        ("redis.tls.ca-cert", &redis.tls.ca_cert),
        ("redis.tls.cert", &redis.tls.cert),
        ("redis.tls.key", &redis.tls.key),
        ("redis.tls.server-name", &redis.tls.server_name),
    ];
    match idle.into_iter().find(|(_, value)| !value.is_empty()) {
        Some((key, _)) => invalid(key, "is of no use without redis.tls.enabled = true or a rediss:// address"),
        None => Ok(endpoint),
    }
}

fn tls_files(tls: &Tls) -> TlsFiles {
    let path = |text: &str| Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty());
    TlsFiles {
        ca: path(&tls.ca_cert).into_iter().collect(),
        cert: path(&tls.cert),
        key: path(&tls.key),
        server_name: Some(tls.server_name.clone()).filter(|name| !name.is_empty()),
    }
}

/// What is said of Sentinels has to fit together.
fn sentinels(redis: &Redis) -> Result<(), Invalid> {
    if !redis.sentinel_password.is_empty() && !redis.sentinel_password_file.is_empty() {
        return invalid("redis.sentinel-password-file", "contradicts redis.sentinel-password; set one of them");
    }
    if !redis.sentinel_master.is_empty() {
        return match redis.cluster || redis.shard {
            true => invalid("redis.sentinel-master", "contradicts redis.cluster and redis.shard"),
            false => Ok(()),
        };
    }
    for (key, text) in [
        ("redis.sentinel-user", &redis.sentinel_user),
        ("redis.sentinel-password", &redis.sentinel_password),
        ("redis.sentinel-password-file", &redis.sentinel_password_file),
    ] {
        if !text.is_empty() {
            return invalid(key, "is of no use without redis.sentinel-master");
        }
    }
    Ok(())
}

/// The endpoint with users and passwords, the passwords read now. The error says which file.
pub fn login(redis: &Redis, endpoint: &Endpoint) -> Result<Endpoint, String> {
    let password = password(&redis.password, &redis.password_file, "redis-password")?;
    let endpoint = endpoint.clone().with_login(&redis.user, &password);
    if redis.sentinel_master.is_empty() {
        return Ok(endpoint);
    }
    let (file, credential) = (&redis.sentinel_password_file, "redis-sentinel-password");
    let sentinels = self::password(&redis.sentinel_password, file, credential)?;
    Ok(endpoint.with_sentinel_login(&redis.sentinel_user, &sentinels))
}

/// A password from the first of file, setting and credential of systemd's.
fn password(given: &str, file: &str, credential: &str) -> Result<String, String> {
    let from_file = |path: &Path| {
        std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| format!("the password file {} cannot be read: {error}", path.display()))
    };
    if !file.is_empty() {
        return from_file(Path::new(file));
    }
    if !given.is_empty() {
        return Ok(given.to_owned());
    }
    match std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(credential)) {
        Some(path) if path.exists() => from_file(&path),
        _ => Ok(String::new()),
    }
}
