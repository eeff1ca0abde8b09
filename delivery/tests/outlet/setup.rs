//! Outlets on a private redis-server, and batches of numbered records.

use std::sync::Arc;

use delivery::outlet::{Batch, Outcome, Outlet, OutletConfig, Target, Worker};

use crate::server::{Server, list};

/// Records with their lists; `None` is the main one.
#[derive(Debug, Clone, Default)]
pub struct Records(pub Vec<(Option<String>, Vec<u8>)>);

impl Records {
    /// Numbered records for the main list.
    pub fn main(range: std::ops::Range<usize>) -> Self {
        Self(range.map(|n| (None, record(n))).collect())
    }

    /// Numbered records dealt out to `lists`.
    pub fn dealt(lists: &[&str], range: std::ops::Range<usize>) -> Self {
        Self(range.map(|n| (Some(lists[n % lists.len()].to_owned()), record(n))).collect())
    }

    pub fn one(&self, index: usize) -> Self {
        Self(vec![self.0[index].clone()])
    }
}

impl Batch for Records {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn target(&self, index: usize) -> Target<'_> {
        self.0[index].0.as_deref().map_or(Target::Main, Target::List)
    }

    fn record(&self, index: usize) -> &[u8] {
        &self.0[index].1
    }
}

pub fn record(n: usize) -> Vec<u8> {
    format!("record {n:08}").into_bytes()
}

pub fn config() -> OutletConfig {
    OutletConfig { producer: "p".into(), list: "main".into(), ..OutletConfig::default() }
}

pub fn outlet(server: &Server, config: OutletConfig) -> Arc<Outlet> {
    let endpoint = server.endpoint();
    let outlet = Outlet::new(config, Box::new(move || Ok(endpoint.clone()))).expect("a configuration");
    outlet.start().expect("a start");
    outlet
}

pub fn commit(worker: &mut Worker, batch: &Records) -> Outcome {
    worker.commit(batch, &|| false)
}

/// What the list holds are exactly these numbers, in this order.
#[track_caller]
pub fn assert_numbers(server: &Server, key: &str, numbers: impl Iterator<Item = usize>) {
    let have: Vec<String> =
        list(&mut server.link(), key).into_iter().map(|r| String::from_utf8_lossy(&r).into_owned()).collect();
    let want: Vec<String> = numbers.map(|n| String::from_utf8_lossy(&record(n)).into_owned()).collect();
    let first = have.iter().zip(&want).position(|(have, want)| have != want);
    assert!(have == want, "{} elements instead of {}, the first other one at {first:?}", have.len(), want.len());
}
