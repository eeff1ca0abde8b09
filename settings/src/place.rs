//! The section `redis`: its keys in the words of the manual, its checks, and the login.

use std::path::Path;
use std::time::Duration;

use delivery::link::{Address, Endpoint, Topology};

use crate::checks::{Invalid, invalid, within};
use crate::key::{Key, key};
use crate::sections::Redis;

/// `redis.server`
pub const SERVER: Key = key(
    "redis.server",
    "host, host:port, [v6]:port, /path/of/socket, redis://…, unix://…",
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
/// `redis.connect-timeout-ms`
pub const CONNECT_TIMEOUT: Key =
    key("redis.connect-timeout-ms", "10 to 60000", true, "Milliseconds that connecting and logging in may take.");
/// `redis.timeout-ms`
pub const TIMEOUT: Key = key(
    "redis.timeout-ms",
    "10 to 600000",
    true,
    "Milliseconds that the answer to a push may take. After it the connection is given up and the push repeated; Redis tells a repeat apart.",
);

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
    let ack = redis.ack.parse().map_err(|why| Invalid { key: "redis.ack", why, other: None })?;
    let address = Address { servers: &redis.server.0, port: redis.port, db: redis.db, topology: topology(redis)? };
    let endpoint = Endpoint::parse(address, Duration::from_millis(connect), Duration::from_millis(timeout));
    let endpoint = endpoint.map_err(|why| Invalid { key: "redis.server", why, other: None })?;
    Ok(endpoint.with_ack(ack))
}

/// What the servers are to each other.
fn topology(redis: &Redis) -> Result<Topology, Invalid> {
    if !redis.sentinel_password.is_empty() && !redis.sentinel_password_file.is_empty() {
        return invalid("redis.sentinel-password-file", "contradicts redis.sentinel-password; set one of them");
    }
    if !redis.sentinel_master.is_empty() {
        return Ok(Topology::Sentinel { master: redis.sentinel_master.clone() });
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
    Ok(Topology::Direct)
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
