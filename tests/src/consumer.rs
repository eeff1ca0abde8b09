//! A worker that is slower than the records come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::redis::Redis;

/// Where it puts what it has taken.
pub const TAKEN: &str = "taken";

/// Where it puts what it has taken out of one of several lists.
pub fn taken_from(key: &str) -> String {
    format!("{TAKEN}:{key}")
}

/// A worker that is slower than the records come. It sees how long the list gets.
#[derive(Debug)]
pub struct Consumer {
    stop: Arc<AtomicBool>,
    longest: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Consumer {
    /// Moves up to `count` records at a time into the list [`TAKEN`], in order. A redis that is away is asked again.
    pub fn start(redis: &Redis, key: &str, count: usize, pause: Duration) -> Self {
        Self::moving(redis, vec![(key.to_owned(), TAKEN.to_owned(), count)], pause)
    }

    /// The same for several lists, each with how many records are taken of it at a time, into a list of [its own](taken_from).
    pub fn of_each(redis: &Redis, keys: &[(&str, usize)], pause: Duration) -> Self {
        let moves = keys.iter().map(|(key, count)| ((*key).to_owned(), taken_from(key), *count));
        Self::moving(redis, moves.collect(), pause)
    }

    fn moving(redis: &Redis, lists: Vec<(String, String, usize)>, pause: Duration) -> Self {
        let (stop, longest) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let socket = redis.socket().to_path_buf();
        let thread = std::thread::spawn({
            let (stop, longest) = (Arc::clone(&stop), Arc::clone(&longest));
            move || {
                let mut connection = None;
                while !stop.load(Ordering::Relaxed) {
                    if connection.is_none() {
                        let client = redis::Client::open(format!("unix://{}", socket.display())).expect("an address");
                        connection = client.get_connection().ok();
                    }
                    if let Some(open) = &mut connection {
                        let mut moves = redis::pipe();
                        for (key, target, count) in &lists {
                            let length = redis::cmd("LLEN").arg(key).query::<usize>(open);
                            longest.fetch_max(length.unwrap_or(0), Ordering::Relaxed);
                            for _ in 0..*count {
                                moves.cmd("LMOVE").arg(key).arg(target).arg("LEFT").arg("RIGHT").ignore();
                            }
                        }
                        if moves.query::<()>(open).is_err() {
                            connection = None;
                        }
                    }
                    std::thread::sleep(pause);
                }
            }
        });
        Self { stop, longest, thread: Some(thread) }
    }

    /// Ends it. Returns the greatest length that it saw.
    pub fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it is stopped once").join().expect("the worker panicked");
        self.longest.load(Ordering::Relaxed)
    }
}
