//! An append-only file that ends in the middle of something: list and cursor agree all the same.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use delivery::push::{Answer, Mode};

use crate::server::{Server, cursor, list, names, push, records};
use crate::stream::stream;

/// The part of the log that grows: since Redis 7 in a folder of its own.
pub fn incremental(folder: &Path) -> PathBuf {
    let Ok(entries) = std::fs::read_dir(folder.join("appendonlydir")) else {
        return folder.join("appendonly.aof");
    };
    entries
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .expect("the log")
}

#[test]
fn a_log_that_is_cut_anywhere_has_list_and_cursor_in_step() {
    cut_anywhere(&Mode::default());
}

#[test]
fn a_log_that_is_cut_anywhere_has_stream_and_cursor_in_step() {
    cut_anywhere(&stream());
}

fn cut_anywhere(mode: &Mode) {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", "yes"]);
    let names = names();
    let mut link = server.link();
    let mut at = 0;
    // The record up to which the list is whole, at each length of the file.
    for size in [1, 25, 11, 12, 3, 40, 100] {
        let from = if at == 0 { String::new() } else { at.to_string() };
        let answer = push(&mut link, &names, mode.clone(), &from, &(at + size).to_string(), &records(at..at + size));
        assert_eq!(answer, Answer::Taken((at + size) as u64));
        at += size;
        // Pushes that are undone are in the log, too.
        for undone in [5, 30] {
            let answer = push(&mut link, &names, mode.clone(), "elsewhere", "x", &records(0..undone));
            assert!(matches!(answer, Answer::Refused(_)));
        }
    }
    drop(link);
    server.kill();
    let path = incremental(server.folder());
    let whole = std::fs::read(&path).expect("the log");
    let mut seen = std::collections::BTreeSet::new();
    let steps = 100;
    for step in 0..=steps {
        // Evenly spread, but not always on the same place of a command.
        let cut = (whole.len() * step / steps).saturating_sub(fastrand::usize(0..whole.len() / steps));
        std::fs::write(&path, &whole[..cut]).expect("cut");
        if step % 4 == 0 {
            let mut check = Command::new("redis-check-aof")
                .arg("--fix")
                .arg(&path)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("redis-check-aof");
            // It asks whether it may cut.
            let _ = check.stdin.take().expect("its input").write_all(b"y\n");
            assert!(check.wait().expect("its end").success(), "cut at {cut}");
        }
        server.restart();
        let mut link = server.link();
        let cursor = cursor(&mut link, &names);
        let taken: usize = if cursor.is_empty() { 0 } else { cursor.parse().expect("a number") };
        assert_eq!(list(&mut link, "list"), records(0..taken), "cut at {cut} of {}", whole.len());
        seen.insert(taken);
        drop(link);
        server.kill();
    }
    assert!(seen.len() == 8, "cuts fell only on {seen:?}");
}
