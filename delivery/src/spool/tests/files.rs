//! What else may be in the folder, who else may use it, and folders that cannot be used.

use super::*;

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    append(&mut writer, 150).expect("room");
    drop((spool, writer));
    let foreign = ["notes.txt", "00000000000000ab-42.seg", "x.seg", "0-0.seg", ".hidden", "b\u{e4}r"];
    for name in foreign {
        std::fs::write(folder.path().join(name), "foreign").expect("write");
    }
    // A folder, a dangling link and a link to a file with names of segments, earlier and later than ours.
    std::fs::create_dir(folder.path().join("0000000000000001-00000000000000000000.seg")).expect("folder");
    let later = folder::path(folder.path(), Epoch(start.epoch.0 + (9 << 32)), 0);
    std::os::unix::fs::symlink("/nowhere", &later).expect("link");
    let link = folder::path(folder.path(), start.epoch, 150);
    std::os::unix::fs::symlink(folder.path().join("notes.txt"), &link).expect("link");
    let (spool, mut writer) = open(&config);
    assert_eq!(spool.opened(), at(start.epoch, 150));
    append(&mut writer, 100).expect("room");
    assert_eq!(read_all(&spool, start), [(start, bytes(0..250))]);
    spool.release(0, at(start.epoch, 250), Instant::now()).expect("release");
    for name in foreign {
        assert_eq!(std::fs::read(folder.path().join(name)).expect("read"), b"foreign");
    }
}

#[test]
fn segments_without_bytes_do_no_harm() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    append(&mut writer, 150).expect("room");
    drop((spool, writer));
    for (epoch, offset) in [(1, 0), (1, 77), (start.epoch.0, 50), (start.epoch.0 - 1, 0)] {
        std::fs::write(folder::path(folder.path(), Epoch(epoch), offset), "").expect("write");
    }
    let (spool, mut writer) = open(&config);
    append(&mut writer, 10).expect("room");
    // Nor does one inside of another segment take anything away.
    assert_eq!(read_all(&spool, start), [(start, bytes(0..160))]);
    assert_eq!(spool.held().last(), Some(&Span { epoch: start.epoch, start: 0, end: 160 }));
}

/// No stream gets there, and nothing could follow.
#[test]
fn a_segment_from_the_end_of_time_is_not_ours() {
    let folder = folder();
    let config = config(folder.path());
    for (epoch, start) in [(u64::MAX, u64::MAX), (u64::MAX - 1, 0), (u64::MAX << 32, 0), (1, u64::MAX), (1, 1 << 62)] {
        std::fs::write(folder::path(folder.path(), Epoch(epoch), start), "far away").expect("write");
    }
    let (spool, mut writer) = open(&config);
    append(&mut writer, 10).expect("room");
    assert_eq!(read_all(&spool, spool.opened()), [(spool.opened(), bytes(0..10))]);
    assert_eq!(spool.held().len(), 1);
}

#[test]
fn one_process_at_a_time() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, writer) = open(&config);
    let second = Spool::open(config.clone(), SECONDS, Instant::now());
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
    // Each part alone holds the folder.
    drop(writer);
    let second = Spool::open(config.clone(), SECONDS, Instant::now());
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
    drop(spool);
    drop(open(&config));
}

#[test]
fn another_process_holds_the_folder_until_it_is_killed() {
    let folder = folder();
    // Without a fork there is one process that holds the lock.
    let mut command = std::process::Command::new("flock");
    command.args(["--exclusive", "--no-fork"]).arg(folder.path()).args(["sh", "-c", "echo held; exec sleep 600"]);
    let mut other = command.stdout(std::process::Stdio::piped()).spawn().expect("flock of util-linux");
    let mut line = [0; 5];
    std::io::Read::read_exact(other.stdout.as_mut().expect("its output"), &mut line).expect("read");
    let opened = Spool::open(config(folder.path()), SECONDS, Instant::now());
    other.kill().expect("kill");
    other.wait().expect("its end");
    assert!(matches!(opened, Err(SpoolError::InUse { .. })), "{opened:?}");
    drop(open(&config(folder.path())));
}

#[test]
fn a_folder_is_made_and_one_that_cannot_be_used_is_named() {
    let folder = folder();
    let deep = folder.path().join("a/b/spool");
    drop(open(&config(&deep)));
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("write");
    // Root may write nearly everywhere, but not there.
    for path in [file.as_path(), &file.join("below"), Path::new("/proc/self/fdinfo")] {
        let error = Spool::open(config(path), SECONDS, Instant::now()).expect_err("no spool there");
        assert!(matches!(error, SpoolError::Io { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
}

#[test]
fn a_file_that_vanishes_or_is_cut_while_it_is_read_is_an_error_and_no_end() {
    let folder = folder();
    let (spool, mut writer) = open(&config(folder.path()));
    let start = spool.opened();
    append(&mut writer, 250).expect("room");
    let first = segments_on_disk(folder.path()).into_keys().next().expect("a segment");
    cut(&first, 50);
    let mut reader = Reader::new(Arc::clone(&spool), at(start.epoch, 60));
    assert!(reader.read(&mut [0; 10]).is_err());
    std::fs::remove_file(&first).expect("remove");
    let mut reader = Reader::new(Arc::clone(&spool), start);
    assert!(reader.read(&mut [0; 10]).is_err());
    // What is good is still read.
    reader.seek(at(start.epoch, 100));
    assert_eq!(reader.read(&mut [0; 10]).expect("read"), Read::Bytes(10));
}
