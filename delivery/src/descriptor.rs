//! Files whose descriptors are none of the first three.
//!
//! A host that goes into the background closes 0, 1 and 2 when its modules are at work already, and prints to 1 and 2 all the same: what it
//! prints must not land in a file of ours.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// The same file with a descriptor above 2.
pub fn above_standard(file: File) -> io::Result<File> {
    if file.as_raw_fd() > 2 {
        return Ok(file);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&file, 3)?.into())
}
