//! An append-only file that ends in the middle of something: list and cursor agree all the same.

use delivery::push::{Answer, Mode};

use crate::log::incremental;
use crate::server::{Server, cursor, list, names, push, records};
use crate::stream::stream;

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
    let path = incremental(server.folder()).expect("the log");
    let whole = std::fs::read(&path).expect("the log");
    let mut seen = std::collections::BTreeSet::new();
    let steps = 100;
    for step in 0..=steps {
        // Evenly spread, but not always on the same place of a command.
        let cut = (whole.len() * step / steps).saturating_sub(fastrand::usize(0..whole.len() / steps));
        std::fs::write(&path, &whole[..cut]).expect("cut");
        match step % 4 {
            0 => server.restart(),
            _ => server.restart_as_is(),
        }
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
