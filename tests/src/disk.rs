//! A file system of its own in a file, whose power can be cut.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cc::compile;
use crate::child::{PATIENCE, Scene, until};

/// An ext4 in a file, mounted in a scene, and gone with the value.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    path: PathBuf,
    cut: PathBuf,
    /// The scene's folder cannot be removed while something is mounted in it.
    _scene: Scene,
}

impl Disk {
    /// Makes and mounts one of `bytes` at the folder `name` of the scene.
    pub fn make(scene: &Scene, name: &str, bytes: u64) -> Self {
        let image = scene.file(&format!("{name}.ext4"));
        let file = std::fs::File::create(&image).expect("an image");
        file.set_len(bytes).expect("an image");
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image));
        let cut = compile("cut-power", "bin", &[]);
        let disk = Self { image, path: scene.folder(name), cut, _scene: scene.clone() };
        disk.mount();
        disk
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.path]));
    }

    /// From here on nothing reaches the disk, and every write and sync fails.
    pub fn cut_power(&self) {
        run(Command::new(&self.cut).arg(&self.path));
    }

    /// The machine starts again: what the disk has is there. Nobody may have a file open any more.
    pub fn power_up(&self) {
        until("a file system that nobody uses", PATIENCE, || {
            Command::new("umount")
                .arg(&self.path)
                .stderr(Stdio::null())
                .status()
                .ok()
                .filter(std::process::ExitStatus::success)
        });
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while somebody still has a file open in there.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {program}: {e}. This test needs it; it is never skipped."));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
