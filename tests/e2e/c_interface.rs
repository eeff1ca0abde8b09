//! `include/omrust.h` in the hands of a C program: alone, under the address sanitizer, and under valgrind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::built::profile_dir;
use e2e::child::{Scene, run};
use e2e::native::door::module_folder;
use e2e::redis::Redis;

const LIMIT: Duration = Duration::from_secs(120);

/// Compiles the program against the header and the library.
pub fn compiled(name: &str, flags: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = profile_dir().join(name);
    let fresh = profile_dir().join(format!("{name}.{}", fastrand::u64(..)));
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-g", "-pthread"]).args(flags).arg("-I");
    cc.arg(root.join("../include")).arg(root.join("c/conversation.c")).arg("-o").arg(&fresh);
    cc.arg(module_folder().join("omrust.so")).arg(format!("-Wl,-rpath,{}", module_folder().display()));
    run(cc, LIMIT).unwrap_or_else(|reason| panic!("conversation.c does not compile: {reason}"));
    std::fs::rename(&fresh, &program).expect("it can be renamed");
    program
}

pub fn toml(scene: &Scene, redis: &Redis) -> String {
    let (socket, state) = (redis.socket().display().to_string(), scene.file("state"));
    format!(
        "[redis]\nserver = \"{socket}\"\n[queue]\nproducer = \"p\"\n[prog]\nstate-directory = \"{}\"\n",
        state.display()
    )
}

/// Everything that a caller may do wrong, below `wrapper`.
#[track_caller]
fn misused(wrapper: &[&str], program: &Path) {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut words = wrapper.iter().map(std::convert::AsRef::as_ref).chain([program.as_os_str()]);
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).args(["misuse", &toml(&scene, &redis)]).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let good = output.stdout.ends_with(b"good\n");
    assert!(output.status.success() && good, "{}:\n{said}", output.status);
    let found = redis.list("rsyslog");
    assert_eq!(found, [&b""[..], b"a\0b\n\xff", b"thread", b"late"], "what was accepted has arrived, once");
}

#[test]
fn every_misuse_comes_back_as_a_number() {
    misused(&[], &compiled("conversation", &[]));
}

#[test]
fn nothing_is_wrong_for_the_address_sanitizer() {
    misused(&[], &compiled("conversation-asan", &["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]));
}

#[test]
fn nothing_is_wrong_for_valgrind() {
    let valgrind =
        ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"];
    misused(&valgrind, &compiled("conversation-valgrind", &[]));
}

#[test]
fn messages_arrive_once_and_in_order() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut command = Command::new(compiled("conversation-push", &[]));
    command.args(["push", &toml(&scene, &redis), "1005"]);
    run(command, LIMIT).expect("it pushes");
    let found: Vec<String> =
        redis.list("rsyslog").into_iter().map(|element| String::from_utf8(element).expect("text")).collect();
    assert_eq!(found, (0..1005).map(|n| n.to_string()).collect::<Vec<_>>());
}
