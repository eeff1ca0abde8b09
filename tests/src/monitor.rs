//! What a Redis is asked to do, command by command.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use crate::child::PATIENCE;
use crate::redis::Redis;

const END: &str = "this is the end of what the monitor has to show";

/// Sees all commands from its start on.
#[derive(Debug)]
pub struct Monitor {
    lines: BufReader<UnixStream>,
}

impl Monitor {
    /// Begins to look. The server must ask for no password.
    pub fn start(redis: &Redis) -> Self {
        let mut stream = UnixStream::connect(redis.socket()).expect("redis runs");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.write_all(b"MONITOR\r\n").expect("it can be asked");
        let mut lines = BufReader::new(stream);
        let mut answer = String::new();
        lines.read_line(&mut answer).expect("an answer");
        assert_eq!(answer, "+OK\r\n");
        Self { lines }
    }

    /// The commands of clients so far, arguments quoted; what scripts did is left out.
    pub fn commands(mut self, redis: &Redis) -> Vec<String> {
        redis.cmd(&["ECHO", END]);
        let mut commands = Vec::new();
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).expect("the next command");
            if line.contains(END) {
                return commands;
            }
            if let Some((head, command)) = line.split_once("] ")
                && !head.ends_with(" lua")
            {
                commands.push(command.trim_end().to_owned());
            }
        }
    }
}
