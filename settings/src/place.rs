//! The section `redis`: its keys in the words of the manual, its checks, and the login.

use std::path::Path;
use std::time::Duration;

use delivery::link::{Address, Endpoint, Topology};

use crate::checks::{Invalid, invalid, within};
use crate::key::{Key, key};
use crate::sections::Redis;

/// `redis.server`
pub const SERVER: Key =
    key("redis.server", "host, host:port, [v6]:port, /path/of/socket, redis://…, unix://…", true, "Where Redis is.");
/// `redis.port`
pub const PORT: Key = key("redis.port", "1 to 65535", true, "The port, if redis.server names none.");
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
    match (redis.cluster, redis.shard) {
        (true, _) => Topology::Cluster,
        (_, true) => Topology::Shards,
        _ => Topology::Direct,
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
    Endpoint::parse(address, Duration::from_millis(connect), Duration::from_millis(timeout)).map_err(|why| Invalid {
        key: "redis.server",
        why,
        other: None,
    })
}

/// The endpoint with user and password, the password read now. The error says which file.
pub fn login(redis: &Redis, endpoint: &Endpoint) -> Result<Endpoint, String> {
    let from_file = |path: &Path| {
        std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| format!("the password file {} cannot be read: {error}", path.display()))
    };
    let password = if !redis.password_file.is_empty() {
        from_file(Path::new(&redis.password_file))?
    } else if !redis.password.is_empty() {
        redis.password.clone()
    } else {
        match std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join("redis-password")) {
            Some(path) if path.exists() => from_file(&path)?,
            _ => String::new(),
        }
    };
    Ok(endpoint.clone().with_login(&redis.user, &password))
}
