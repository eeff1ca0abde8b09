//! A small file system of its own, for a full disk and for one that cannot be written.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::child::Scene;

/// A tmpfs that is mounted in a scene, and gone with the value.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
    /// The scene's folder cannot be removed while something is mounted in it.
    _scene: Scene,
}

impl Tmpfs {
    /// Mounts `bytes` of memory at the folder `name` of the scene.
    pub fn mount(scene: &Scene, name: &str, bytes: u64) -> Self {
        let path = scene.folder(name);
        let options = format!("size={bytes},mode=0777");
        mount(Some("e2e"), &path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap_or_else(|e| {
            panic!("cannot mount a tmpfs at {}: {e}. This test needs root; it is never skipped.", path.display())
        });
        Self { path, _scene: scene.clone() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From here on nothing can be written. Fails while a file is open for writing.
    pub fn read_only(&self) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, &self.path, None::<&str>, flags, None::<&str>).expect("it can be remounted");
    }

    /// From here on it can be written again.
    pub fn writable(&self) {
        mount(None::<&str>, &self.path, None::<&str>, MsFlags::MS_REMOUNT, None::<&str>).expect("it can be remounted");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Also while somebody still has a file open in there.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
