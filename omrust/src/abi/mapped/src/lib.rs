//! A file's bytes as memory, to store into: what was stored is the kernel's, and survives a kill of the process without a system call.
//!
//! It is a crate of its own below `omrust/src/abi/`, the one address of `unsafe`, so that the crates that use it can forbid it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The first bytes of a file, mapped. Stores only: nobody in this process holds a reference into it.
#[derive(Debug)]
pub struct Mapped {
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the value alone, and no thread keeps anything of it behind a call.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Gives `file` the room of `len` bytes on its disk and maps them. A full disk is an error here, and never a fault at a store.
    ///
    /// Nobody may make the file shorter while it is mapped: the caller has it locked.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        if len == 0 {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        fallocate(file, FallocateFlags::empty(), 0, len as u64)?;
        // SAFETY: a new mapping at an address that the kernel chooses; nothing of ours can lie there.
        let address =
            unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)? };
        let address = NonNull::new(address.cast::<u8>()).ok_or_else(|| io::Error::other("mapped at nothing"))?;
        Ok(Self { address, len })
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stores `bytes` at `at`. False, and nothing stored, if they do not fit.
    pub fn store(&mut self, at: usize, bytes: &[u8]) -> bool {
        if at.checked_add(bytes.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        // SAFETY: `at..at + bytes.len()` lies in the mapping, which is writable and lives as long as `self`; `bytes` is memory of this
        // program and cannot overlap it, for no reference into the mapping is ever given out.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.address.as_ptr().add(at), bytes.len()) };
        true
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length, and nobody uses it behind this.
        let _ = unsafe { munmap(self.address.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_in_the_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("open");
        let mut mapped = Mapped::new(&file, 10_000).expect("map");
        assert!(mapped.store(0, b"begin") && mapped.store(9_997, b"end") && mapped.store(10_000, b""));
        assert!(!mapped.store(9_998, b"end") && !mapped.store(usize::MAX, b"x"));
        let bytes = std::fs::read(&path).expect("read");
        assert_eq!((bytes.len(), &bytes[..5], &bytes[9_997..]), (10_000, &b"begin"[..], &b"end"[..]));
        drop(mapped);
        assert!(Mapped::new(&file, 0).is_err());
    }
}
