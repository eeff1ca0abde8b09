//! Networks of a test's own: network namespaces with a cable between them that can be pulled.
//!
//! A namespace lives as long as the process that holds it and those that run in it; its cable goes with it. Nothing of the machine's own
//! network is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::{Guarded, PATIENCE, Scene, run, until};

/// One end of the cable, in each of the two networks.
const END: &str = "cable";
/// A command of `ip` does not take longer.
const LIMIT: Duration = Duration::from_secs(10);

/// A network with nothing in it but its own loopback.
#[derive(Debug)]
pub struct Net {
    scene: Scene,
    name: String,
    holder: Guarded,
}

impl Net {
    /// Makes one.
    pub fn new(scene: &Scene, name: &str) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "setpriv", "--pdeathsig", "KILL", "sleep", "infinity"]);
        let log = format!("net-{name}");
        let mut holder = scene.spawn(&log, command);
        let id = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let (own, pid) = (id("self"), holder.pid().to_string());
        until("a network namespace", PATIENCE, || {
            if let Some(status) = holder.ended() {
                let said = scene.log(&log);
                panic!(
                    "no network namespace can be made ({status}): {said}. This test needs root; it is never skipped."
                );
            }
            id(&pid).filter(|id| own.as_ref() != Some(id))
        });
        let net = Self { scene: scene.clone(), name: name.to_owned(), holder };
        net.ip(&["link", "set", "lo", "up"]);
        net
    }

    fn pid(&self) -> String {
        self.holder.pid().to_string()
    }

    /// A program that is `program` in this network.
    pub fn program(&self, program: &Path) -> PathBuf {
        let name = program.file_name().expect("a program has a name").to_string_lossy().into_owned();
        let text =
            format!("#!/bin/sh\nexec nsenter --net=/proc/{}/ns/net '{}' \"$@\"\n", self.pid(), program.display());
        let path = self.scene.write(&format!("{}-{name}", self.name), text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
        path
    }

    #[track_caller]
    fn ip(&self, words: &[&str]) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg("ip").args(words);
        run(command, LIMIT).unwrap_or_else(|e| panic!("{e}. This test needs iproute2 and root; it is never skipped."));
    }
}

/// Two networks and the cable between them. Who is on which side has one of the [`addresses`](Self::addresses).
#[derive(Debug)]
pub struct Cable {
    /// The two sides.
    pub sides: [Net; 2],
}

impl Cable {
    /// Two networks that reach each other.
    pub fn new(scene: &Scene) -> Self {
        let sides = ["left", "right"].map(|name| Net::new(scene, name));
        let other = sides[1].pid();
        sides[0].ip(&["link", "add", END, "type", "veth", "peer", "name", END, "netns", &other]);
        for (side, address) in sides.iter().zip(Self::addresses()) {
            side.ip(&["address", "add", &format!("{address}/24"), "dev", END]);
            side.ip(&["link", "set", END, "up"]);
        }
        Self { sides }
    }

    /// The addresses of the two sides.
    pub fn addresses() -> [&'static str; 2] {
        ["192.0.2.1", "192.0.2.2"]
    }

    /// Nothing comes through any more, and nobody is told.
    pub fn pull(&self) {
        self.sides[1].ip(&["link", "set", END, "down"]);
    }

    /// Everything comes through again.
    pub fn plug(&self) {
        self.sides[1].ip(&["link", "set", END, "up"]);
    }
}
