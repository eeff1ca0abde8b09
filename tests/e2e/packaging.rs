//! The package, the units, and `make install`: what is in them, and that it works under a real systemd.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use e2e::child::Scene;
use e2e::native::plain::{Plain, QUEUE, assert_has, usual};
use e2e::pipe::Numbered;
use e2e::redis::Redis;

use crate::generated::root;

/// The folder that cargo builds in, found from this program.
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("the running program has a path");
    // target/debug/deps/e2e-...
    program.ancestors().nth(3).expect("it is three folders deep").to_owned()
}

/// Runs a program to its end; it must succeed. Returns what it wrote to stdout.
#[track_caller]
fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {shown}: {error}. `make need` installs it."));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}: {}\n{said}{complained}", output.status);
    said.into_owned()
}

/// `make WORDS`, building where this test was built.
fn make(words: &[&str]) -> Command {
    let mut command = Command::new("make");
    command.current_dir(root()).env("CARGO_TARGET_DIR", target()).args(["--no-print-directory"]).args(words);
    // This may run below another make.
    e2e::cargo::outside(&mut command);
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "DESTDIR", "PREFIX"] {
        command.env_remove(name);
    }
    command
}

/// The package, made on the first call.
fn deb() -> &'static Path {
    &debs()[2]
}

/// The package of the program behind omprog.
fn prog_deb() -> &'static Path {
    &debs()[1]
}

/// The module's package.
fn module_deb() -> &'static Path {
    &debs()[0]
}

/// All, in the order in which they are made.
fn debs() -> &'static [PathBuf; 3] {
    static BUILT: OnceLock<[PathBuf; 3]> = OnceLock::new();
    BUILT.get_or_init(|| {
        let said = run(&mut make(&["--silent", "deb"]));
        let paths: Vec<PathBuf> = said
            .lines()
            .map(|line| PathBuf::from(line.trim()))
            .filter(|path| path.extension().is_some_and(|e| e == "deb"))
            .collect();
        for path in &paths {
            assert!(path.starts_with(target()) && path.is_file(), "no package at {}", path.display());
        }
        paths.try_into().unwrap_or_else(|paths| panic!("three packages, not {paths:?}:\n{said}"))
    })
}

/// The package's files in a folder.
fn unpacked(scene: &Scene) -> PathBuf {
    let root = scene.folder("root");
    run(Command::new("dpkg-deb").arg("--extract").arg(deb()).arg(&root));
    root
}

/// All files below `folder`: path as installed, and mode.
fn files(folder: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder").map(|entry| entry.expect("an entry")) {
            let meta = entry.metadata().expect("it is there");
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path().strip_prefix(folder).expect("below").to_str().expect("text").to_owned();
                found.insert(format!("/{path}"), meta.permissions().mode() & 0o7777);
            }
        }
    }
    found
}

/// Where rsyslogd looks for modules.
const MODULE: &str = "/usr/lib/x86_64-linux-gnu/rsyslog/omrust.so";

/// What must be in the package, and nothing else.
fn expected() -> BTreeMap<String, u32> {
    let mut wanted: BTreeMap<String, u32> = [
        "/etc/apparmor.d/rsyslog.d/fifo-bridge.apparmor",
        "/etc/fifo-bridge/fifo-bridge.toml",
        "/usr/lib/systemd/system/fifo-bridge.service",
        "/usr/lib/systemd/system/fifo-bridge.socket",
        "/usr/lib/sysusers.d/fifo-bridge.conf",
        "/usr/lib/tmpfiles.d/fifo-bridge.conf",
        "/usr/share/doc/fifo-bridge/CHANGELOG.md",
        "/usr/share/doc/fifo-bridge/README.md",
        "/usr/share/doc/fifo-bridge/copyright",
        "/usr/share/man/man5/fifo-bridge.toml.5.gz",
        "/usr/share/man/man8/fifo-bridge.8.gz",
    ]
    .map(|path| (path.to_owned(), 0o644))
    .into();
    wanted.insert("/usr/sbin/fifo-bridge".into(), 0o755);
    for (from, to) in [("docs", "docs"), ("rsyslog-conf", "examples/rsyslog-conf"), ("workers", "examples/workers")] {
        let shipped = files(&root().join(from)).into_keys();
        wanted.extend(shipped.map(|path| (format!("/usr/share/doc/fifo-bridge/{to}{path}"), 0o644)));
    }
    wanted
}

/// What must be in the package omrust-prog, and what `make install` brings of it.
fn expected_of_the_program() -> BTreeMap<String, u32> {
    let mut wanted: BTreeMap<String, u32> = [
        "/etc/apparmor.d/rsyslog.d/omrust-prog.apparmor",
        "/etc/omrust/omrust.toml",
        "/usr/share/man/man5/omrust.toml.5.gz",
        "/usr/share/man/man8/omrust-prog.8.gz",
    ]
    .map(|path| (path.to_owned(), 0o644))
    .into();
    wanted.insert("/usr/libexec/rsyslog/omrust-prog".into(), 0o755);
    wanted
}

#[test]
fn the_package_of_the_program_has_exactly_its_files() {
    let mut wanted = expected_of_the_program();
    for name in ["CHANGELOG.md", "OMPROG.md", "copyright", "examples/central-omprog.conf", "examples/remote-relp.conf"]
    {
        wanted.insert(format!("/usr/share/doc/omrust-prog/{name}"), 0o644);
    }
    assert_expected(&wanted, &listed(prog_deb()));
    let scene = Scene::new();
    let root = scene.folder("root");
    run(Command::new("dpkg-deb").arg("--extract").arg(prog_deb()).arg(&root));
    let mut check = Command::new(root.join("usr/libexec/rsyslog/omrust-prog"));
    let said = run(check.args(["--check", "--no-connect", "--config"]).arg(root.join("etc/omrust/omrust.toml")));
    assert_eq!(said.trim(), "the configuration is good");
    let strings = fs::read(root.join("usr/libexec/rsyslog/omrust-prog")).expect("readable");
    let fault = b"OMRUST_PROG_FAULT";
    assert!(!strings.windows(fault.len()).any(|part| part == fault), "fault points were shipped");
}

/// The same files with the same modes, or what is missing and what is too much.
#[track_caller]
fn assert_expected(wanted: &BTreeMap<String, u32>, found: &BTreeMap<String, u32>) {
    let beyond = |one: &BTreeMap<String, u32>, other: &BTreeMap<String, u32>| -> Vec<String> {
        let only = one.iter().filter(|(path, mode)| other.get(*path) != Some(mode));
        only.map(|(path, mode)| format!("{mode:o} {path}")).collect()
    };
    let (missing, surplus) = (beyond(wanted, found), beyond(found, wanted));
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:#?}\nnot expected: {surplus:#?}");
}

/// The files of a package, with their modes. All belong to root.
fn listed(deb: &Path) -> BTreeMap<String, u32> {
    let listing = run(Command::new("dpkg-deb").arg("--contents").arg(deb));
    let mut found = BTreeMap::new();
    for line in listing.lines().filter(|line| !line.starts_with('d')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, owner, _, _, _, path] = words[..] else { panic!("not understood: {line}") };
        assert_eq!(owner, "0/0", "{line}");
        let mode = match mode {
            "-rw-r--r--" => 0o644,
            "-rwxr-xr-x" => 0o755,
            other => panic!("{other}: {line}"),
        };
        found.insert(path.trim_start_matches('.').to_owned(), mode);
    }
    found
}

#[test]
fn the_package_has_exactly_its_files() {
    assert_expected(&expected(), &listed(deb()));
    let conffiles = run(Command::new("dpkg-deb").args(["--info"]).arg(deb()).arg("conffiles"));
    let mut conffiles: Vec<&str> = conffiles.lines().collect();
    conffiles.sort_unstable();
    assert_eq!(conffiles, ["/etc/apparmor.d/rsyslog.d/fifo-bridge.apparmor", "/etc/fifo-bridge/fifo-bridge.toml"]);
    let field = |name: &str| run(Command::new("dpkg-deb").arg("--field").arg(deb()).arg(name)).trim().to_owned();
    assert_eq!(field("Package"), "fifo-bridge");
    assert_eq!(field("Version"), format!("{}-1", env!("CARGO_PKG_VERSION")));
    assert!(field("Depends").contains("libc6 (>="), "its libraries were found: {}", field("Depends"));
    for script in ["postinst", "prerm", "postrm"] {
        run(Command::new("sh").arg("-n").arg(root().join("packaging/deb").join(script)));
    }
}

#[test]
fn the_binary_of_the_package_runs() {
    let scene = Scene::new();
    let root = unpacked(&scene);
    let program = root.join("usr/sbin/fifo-bridge");
    let version = run(Command::new(&program).arg("--version"));
    assert_eq!(version.trim(), format!("fifo-bridge {}", env!("CARGO_PKG_VERSION")));
    let settings = root.join("etc/fifo-bridge/fifo-bridge.toml");
    let checked = run(Command::new(&program).args(["check", "--no-connect", "--config"]).arg(&settings));
    assert_eq!(checked.trim(), "the configuration is good");
    let effective = run(Command::new(&program).arg("config").arg("--config").arg(&settings));
    assert!(effective.contains("directory = \"/var/lib/fifo-bridge/spool\""), "{effective}");
    let strings = fs::read(&program).expect("readable");
    let fault = b"FIFO_BRIDGE_FAULT";
    assert!(!strings.windows(fault.len()).any(|part| part == fault), "fault points were shipped");
}

#[test]
fn make_install_brings_the_same_files_and_keeps_settings() {
    let scene = Scene::new();
    let dest = scene.folder("dest");
    let destdir = format!("DESTDIR={}", dest.display());
    run(&mut make(&["install", &destdir]));
    let mut wanted = expected();
    wanted.insert(MODULE.into(), 0o644);
    wanted.insert("/usr/include/omrust.h".into(), 0o644);
    wanted.extend(expected_of_the_program());
    assert_expected(&wanted, &files(&dest));
    let settings = dest.join("etc/fifo-bridge/fifo-bridge.toml");
    fs::write(&settings, "# mine\n").expect("writable");
    run(&mut make(&["install", &destdir]));
    assert_eq!(fs::read_to_string(&settings).expect("readable"), "# mine\n", "settings were overwritten");
    run(&mut make(&["uninstall", &destdir]));
    let left: Vec<String> = files(&dest).into_keys().collect();
    assert_eq!(left, ["/etc/fifo-bridge/fifo-bridge.toml", "/etc/omrust/omrust.toml"]);
}

#[test]
fn another_prefix_is_in_the_unit() {
    let scene = Scene::new();
    let dest = scene.folder("dest");
    run(&mut make(&["install", &format!("DESTDIR={}", dest.display()), "PREFIX=/opt/bridge"]));
    let unit = fs::read_to_string(dest.join("opt/bridge/lib/systemd/system/fifo-bridge.service")).expect("the unit");
    let commands: Vec<&str> =
        unit.lines().filter(|line| line.starts_with("Exec") && line.contains("fifo-bridge")).collect();
    assert_eq!(commands.len(), 2);
    assert!(commands.iter().all(|line| line.contains("=/opt/bridge/sbin/fifo-bridge ")), "{commands:?}");
    assert!(dest.join("opt/bridge/sbin/fifo-bridge").is_file());
    assert!(dest.join("opt/bridge/lib/x86_64-linux-gnu/rsyslog/omrust.so").is_file());
}

#[test]
fn the_package_of_the_module_has_exactly_its_files() {
    let doc = "/usr/share/doc/rsyslog-omrust";
    let examples =
        crate::native_conf::FILES.into_iter().chain(["remote-relp.conf"]).map(|name| format!("{doc}/examples/{name}"));
    let docs = ["MODULE.md", "CHANGELOG.md", "copyright"].map(|name| format!("{doc}/{name}"));
    let wanted = examples.chain(docs).chain([MODULE.to_owned()]).map(|path| (path, 0o644)).collect();
    assert_expected(&wanted, &listed(module_deb()));
    let field = |name: &str| run(Command::new("dpkg-deb").arg("--field").arg(module_deb()).arg(name)).trim().to_owned();
    assert_eq!(field("Package"), "rsyslog-omrust");
    assert_eq!(field("Version"), format!("{}-1", env!("CARGO_PKG_VERSION")));
    assert_eq!(field("Depends"), "libc6 (>= 2.28), rsyslog (>= 8.2102)");
}

#[test]
fn the_module_of_the_package_needs_no_new_glibc_and_delivers() {
    let scene = Scene::new();
    let root = scene.folder("root");
    run(Command::new("dpkg-deb").arg("--extract").arg(module_deb()).arg(&root));
    let module = root.join(MODULE.trim_start_matches('/'));
    let needed = run(Command::new("objdump").arg("-p").arg(&module));
    let versions: Vec<(u32, u32)> = needed
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("GLIBC_"))
        .map(|version| {
            let mut parts = version.split('.').map(|part| part.parse().expect("a number"));
            (parts.next().expect("a version"), parts.next().unwrap_or(0))
        })
        .collect();
    assert!(!versions.is_empty(), "{needed}");
    assert!(versions.iter().all(|version| *version <= (2, 28)), "{versions:?}");
    assert!(!needed.contains("libgcc_s"), "rsyslogd's containers may not have it:\n{needed}");
    let bytes = fs::read(&module).expect("readable");
    let fault = b"OMRUST_PANIC_ON";
    assert!(!bytes.windows(fault.len()).any(|part| part == fault), "fault points were shipped");
    let redis = Redis::setup(&scene).start();
    let rules = format!("action(type=\"omrust\" key=\"list\" {})", usual(&redis));
    let plain = Plain::with_modules(&scene, module.parent().expect("a folder"), QUEUE, "", &rules);
    let mut rsyslogd = plain.start();
    plain.send(&Numbered::new("portable", 100), 0..5_000);
    assert_has(&redis, "list", "portable", 0..5_000);
    rsyslogd.term();
}

#[test]
fn units_pass_systemd_analyze() {
    let scene = Scene::new();
    let tree = unpacked(&scene);
    // Their neighbours, so that what they refer to is there.
    for folder in ["usr/lib/systemd/system", "lib/systemd/system"] {
        let Ok(entries) = fs::read_dir(Path::new("/").join(folder)) else { continue };
        for entry in entries.map(|entry| entry.expect("an entry")) {
            let to = tree.join("usr/lib/systemd/system").join(entry.file_name());
            if entry.path().is_file() && !to.exists() {
                fs::copy(entry.path(), to).expect("a copy");
            }
        }
    }
    for command in ["bin/kill", "bin/chown", "bin/chmod"] {
        fs::create_dir_all(tree.join("bin")).expect("a folder");
        fs::copy("/bin/true", tree.join(command)).expect("a copy");
    }
    for unit in ["fifo-bridge.socket", "fifo-bridge.service"] {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(format!("--root={}", tree.display()));
        let output = command.arg(unit).env("LC_ALL", "C").output().expect("systemd-analyze; `make need` installs it");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{unit}: {}\n{said}", output.status);
    }
}

#[test]
fn the_apparmor_rules_are_rules() {
    let scene = Scene::new();
    for name in ["fifo-bridge", "omrust-prog"] {
        let rule = fs::read_to_string(root().join(format!("packaging/apparmor/{name}.apparmor"))).expect("readable");
        let profile = scene.write("profile", format!("profile rsyslogd /usr/sbin/rsyslogd {{\n{rule}\n}}\n"));
        run(Command::new("apparmor_parser").args(["--skip-kernel-load", "--skip-cache"]).arg(profile));
    }
}

/// The one test that takes a whole machine: a systemd of its own on a throw-away copy of this one, without network.
#[test]
#[expect(clippy::print_stderr, reason = "whoever is not root should know what was not tested")]
fn the_package_works_under_a_real_systemd() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("NOT TESTED: a systemd of its own needs root");
        return;
    }
    let scene = Scene::new();
    unpacked(&scene);
    fs::copy(deb(), scene.file("fifo-bridge.deb")).expect("a copy");
    let scripts = root().join("tests/e2e/packaging");
    fs::copy(scripts.join("inside.sh"), scene.file("inside.sh")).expect("a copy");
    let mut command = Command::new("unshare");
    run(command.args(["--mount", "bash"]).arg(scripts.join("outside.sh")).arg(scene.path()));
    let read = |name: &str| fs::read_to_string(scene.file(name)).unwrap_or_default();
    let output = read("output");
    assert!(output.ends_with("everything holds\n"), "{output}\n--- console\n{}", read("console"));
}
