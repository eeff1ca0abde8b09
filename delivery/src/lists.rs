//! The names of the lists of several lanes. Workers have to know them: all doors name them in the same way.

use crate::link::{Topology, cluster};

/// Lanes, at most.
pub const LANES_MAX: u32 = 1024;

/// The lists of `key` with so many lanes, that of lane 0 first.
///
/// One lane is `key` itself; several are `key:0`, `key:1` and so on. In a cluster the name decides the node: there a number is added
/// behind some of them, `key:1:17`, so that the lists lie evenly over the hash slots. See `spread`.
pub fn lists(topology: &Topology, key: &str, lanes: u32) -> Result<Vec<String>, String> {
    match (lanes, topology) {
        (0 | 1, _) => Ok(vec![key.to_owned()]),
        (_, Topology::Cluster) => spread(key, lanes),
        _ => Ok((0..lanes).map(|lane| format!("{key}:{lane}")).collect()),
    }
}

/// Lists whose hash slots lie evenly: that of lane `i` of `n` near the middle of the `i`-th of `n` equal stripes of the slots.
///
/// With the usual equal split of the slots over masters, as many lanes as masters land on as many masters. The name is `key:i` if its slot is near
/// enough, else the first of `key:i:1`, `key:i:2`, ... whose slot is. The same key and number of lanes always give the same names.
fn spread(key: &str, lanes: u32) -> Result<Vec<String>, String> {
    if key.contains('{') {
        return Err("has a brace: with a hash tag all lanes would be in one slot, on one node; take it out".into());
    }
    let slots = u32::from(cluster::SLOTS);
    let near = (slots / lanes / 16).max(1);
    let find = |lane: u32| {
        let middle = (2 * lane + 1) * slots / (2 * lanes);
        let fits = |slot: u16| u32::from(slot).abs_diff(middle) <= near;
        let plain = format!("{key}:{lane}");
        let hashed = cluster::Hashed::new(&format!("{plain}:"));
        if fits(cluster::slot(&plain)) {
            return plain;
        }
        // One of a few thousand fits; a million never lack one.
        let more = (1..1_000_000_u32).find(|more| fits(hashed.slot_with(&more.to_string())));
        format!("{plain}:{}", more.unwrap_or_default())
    };
    Ok((0..lanes).map(find).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lane_is_the_key_itself_and_several_are_numbered() {
        let names = |topology, lanes| lists(&topology, "logs", lanes).expect("names");
        assert_eq!(names(Topology::Direct, 1), ["logs"]);
        assert_eq!(names(Topology::Cluster, 1), ["logs"]);
        assert_eq!(names(Topology::Direct, 3), ["logs:0", "logs:1", "logs:2"]);
        assert_eq!(names(Topology::Shards, 2), ["logs:0", "logs:1"]);
    }

    #[test]
    fn names_in_a_cluster_never_change() {
        // Workers were told of them.
        assert_eq!(lists(&Topology::Cluster, "logs", 3).expect("names"), FIXED);
        assert!(lists(&Topology::Cluster, "{app}:logs", 3).is_err());
        assert_eq!(lists(&Topology::Cluster, "{app}:logs", 1).expect("names"), ["{app}:logs"]);
    }

    const FIXED: [&str; 3] = ["logs:0:24", "logs:1:22", "logs:2:21"];

    #[test]
    fn lanes_land_on_all_masters() {
        for masters in 1..=32_u32 {
            for lanes in [masters, 2 * masters, 4 * masters, masters + masters.div_ceil(4)] {
                let names = lists(&Topology::Cluster, "rsyslog", lanes).expect("names");
                assert_eq!(names.len(), lanes as usize);
                let master = |name: &String| u32::from(cluster::slot(name)) * masters / u32::from(cluster::SLOTS);
                let mut hit: Vec<u32> = names.iter().map(master).collect();
                hit.sort_unstable();
                hit.dedup();
                assert_eq!(hit.len(), masters as usize, "{lanes} lanes on {masters} masters: {names:?}");
            }
        }
        let all = lists(&Topology::Cluster, "k", LANES_MAX).expect("names");
        let slots: std::collections::HashSet<u16> = all.iter().map(|name| cluster::slot(name)).collect();
        assert_eq!(slots.len(), LANES_MAX as usize);
    }
}
