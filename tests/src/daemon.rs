//! A process that went into the background and is nobody's child.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::child::{PATIENCE, until};

/// A background process of this test alone. It is killed with the value.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    pid: u32,
}

impl Daemon {
    /// Takes over the process `pid`.
    pub fn new(name: &str, pid: u32) -> Self {
        Self { name: name.to_owned(), pid }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended. Nobody here may reap it: what is left of it counts for nothing.
    pub fn ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    }

    /// Sends `signal`. Panics if it has ended.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        assert!(!self.ended(), "{} has ended, {signal} cannot be sent", self.name);
        let pid = i32::try_from(self.pid).expect("process ids are positive i32");
        kill(Pid::from_raw(pid), signal).unwrap_or_else(|e| panic!("cannot send {signal} to {}: {e}", self.name));
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) {
        until(&format!("the end of {}", self.name), limit, || self.ended().then_some(()));
    }

    /// SIGKILL, then waits until it is gone. Fine if it has ended already.
    pub fn kill9(&mut self) {
        if !self.ended() {
            self.signal(Signal::SIGKILL);
            self.wait(PATIENCE);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.ended() {
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
        }
    }
}
