//! Settings without their secrets, for people.

use crate::sections::Redis;

/// Takes password and login out of the section, so that it can be shown.
pub fn mask(redis: &mut Redis) {
    for password in [&mut redis.password, &mut redis.sentinel_password] {
        if !password.is_empty() {
            *password = "***".into();
        }
    }
    for address in &mut redis.server.0 {
        *address = server(address);
    }
}

/// The address without what is secret in a URL: `redis://user:password@host`, `unix:///socket?user=..&pass=..`.
pub fn server(server: &str) -> String {
    let Some((scheme, rest)) = server.split_once("://") else { return server.to_owned() };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let place = place.rsplit_once('@').map_or_else(|| place.to_owned(), |(_, host)| format!("***@{host}"));
    let hide = |pair: &str| if pair.starts_with("pass=") { "pass=***".to_owned() } else { pair.to_owned() };
    let query = query.map(|query| query.split('&').map(hide).collect::<Vec<_>>().join("&"));
    format!("{scheme}://{place}{}", query.map(|query| format!("?{query}")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_shown_without_its_secret() {
        let mut redis: Redis =
            toml::from_str("server = [\"redis://u:secret@h\", \"unix:///s?pass=secret\", \"i:1\"]").expect("good");
        mask(&mut redis);
        assert_eq!(redis.server.0, ["redis://***@h", "unix:///s?pass=***", "i:1"]);
        assert!(toml::to_string(&redis).expect("toml").starts_with("server = ["));
    }
}
