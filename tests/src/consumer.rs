//! A worker that is slower than the records come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::redis::Redis;

/// Where it puts what it has taken.
pub const TAKEN: &str = "taken";

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
        let (stop, longest) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (socket, key) = (redis.socket().to_path_buf(), key.to_owned());
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
                        let length = redis::cmd("LLEN").arg(&key).query::<usize>(open);
                        longest.fetch_max(length.unwrap_or(0), Ordering::Relaxed);
                        let mut moves = redis::pipe();
                        for _ in 0..count {
                            moves.cmd("LMOVE").arg(&key).arg(TAKEN).arg("LEFT").arg("RIGHT").ignore();
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
