//! What the disk can do, and what Redis can: one writer, each batch written and synced; one client that waits for each answer.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use e2e::cc::slow_sync;
use e2e::child::{Scene, run};
use e2e::redis::Redis;

/// The file is filled before, and overwritten: nothing is cheaper to sync.
const FILE: u64 = 64 << 20;
/// What a record takes beside its bytes.
const HEAD: usize = 4;

/// Records a second in batches of `batch`, each record of `size` bytes.
pub fn rate(batch: usize, size: usize, seconds: u64) -> f64 {
    let scene = Scene::new();
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(scene.file("bare")).expect("a file");
    let zeros = vec![0; 1 << 20];
    for at in 0..FILE >> 20 {
        file.write_all_at(&zeros, at << 20).expect("the disk has room");
    }
    file.sync_all().expect("it can be synced");
    let block = vec![b'x'; batch * (size + HEAD)];
    let (start, limit) = (Instant::now(), Duration::from_secs(seconds));
    let (mut at, mut count) = (0, 0);
    while start.elapsed() < limit {
        if at + block.len() as u64 > FILE {
            at = 0;
        }
        file.write_all_at(&block, at).expect("the disk has room");
        file.sync_data().expect("it can be synced");
        at += block.len() as u64;
        count += batch;
    }
    count as f64 / start.elapsed().as_secs_f64()
}

/// The same in a process of its own, each sync so many microseconds longer.
pub fn measure(batch: usize, size: usize, seconds: u64, slow: u32) -> f64 {
    let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
    command.args(["--bare", &batch.to_string(), "--size", &size.to_string(), "--seconds", &seconds.to_string()]);
    if slow > 0 {
        command.env("LD_PRELOAD", slow_sync()).env("SLOW_SYNC_US", slow.to_string());
    }
    let said = run(command, Duration::from_secs(seconds + 30)).expect("it measures");
    said.trim().parse().expect("a number")
}

/// Records of `size` bytes a second, one RPUSH each, the next when the last is answered.
pub fn asked(size: usize, seconds: u64) -> f64 {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut stream = UnixStream::connect(redis.socket()).expect("Redis listens");
    let push = format!("*3\r\n$5\r\nRPUSH\r\n$4\r\nlist\r\n${size}\r\n{}\r\n", "x".repeat(size));
    let (start, limit, mut count) = (Instant::now(), Duration::from_secs(seconds), 0);
    while start.elapsed() < limit {
        stream.write_all(push.as_bytes()).expect("Redis runs");
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).expect("Redis runs");
        assert!(answer[..length].ends_with(b"\r\n") && answer[0] == b':', "{:?}", &answer[..length]);
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}
