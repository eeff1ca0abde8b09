//! The named pipe: made, opened, locked, measured, watched.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{Group, User};

use crate::settings::effective::FifoSettings;

/// Why the pipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FifoError {
    /// Something else stands at the path. For exit status 78.
    #[error("fifo.path: {} is {what}, not a named pipe; remove it or choose another path", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A name in the settings is unknown. For exit status 78.
    #[error("{key}: there is no {name:?} on this machine")]
    Unknown {
        /// The setting.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// Another bridge reads it.
    #[error("fifo.path: {} is read by another process already; one bridge per pipe", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("fifo.path: {} {what}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// An open pipe. It is open for writing too: it never reports an end, and it keeps its content while rsyslogd has it closed.
#[derive(Debug)]
pub struct Fifo {
    file: File,
    path: PathBuf,
    identity: (u64, u64),
}

impl Fifo {
    /// Opens the pipe, making it if it is missing, locks it and raises its capacity. `inherited` are descriptors that
    /// systemd handed over: the one that is the pipe at the path, or the only pipe, is taken.
    pub fn open(settings: &FifoSettings, inherited: &[i32]) -> Result<Self, FifoError> {
        let path = &settings.path;
        let io = |what| move |source| FifoError::Io { path: settings.path.clone(), what, source };
        let from = match handed_over(path, inherited) {
            Some(descriptor) => {
                log::info!("took over the pipe {} from systemd", path.display());
                descriptor
            }
            None => {
                if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                    create(settings)?;
                }
                path.clone()
            }
        };
        check_kind(path, fs::metadata(&from))?;
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&from)
            .map_err(io("cannot be opened for reading and writing"))?;
        let meta = file.metadata().map_err(io("cannot be looked at"))?;
        check_kind(path, Ok(meta.clone()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FifoError::InUse { path: path.clone() }),
            Err(TryLockError::Error(source)) => return Err(io("cannot be locked")(source)),
        }
        let fifo = Self { file, path: path.clone(), identity: (meta.dev(), meta.ino()) };
        fifo.raise_capacity(settings.pipe_bytes);
        Ok(fifo)
    }

    /// A larger pipe gives rsyslog more time before it is suspended. A refusal costs only that.
    fn raise_capacity(&self, wanted: u64) {
        let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
        if self.capacity() >= i64::from(wanted) {
            return;
        }
        if let Err(error) = nix::fcntl::fcntl(&self.file, FcntlArg::F_SETPIPE_SZ(wanted)) {
            log::warn!(
                "the pipe {} keeps {} bytes: {wanted} were refused ({error}); see fs.pipe-max-size in proc(5)",
                self.path.display(),
                self.capacity()
            );
        }
    }

    /// Bytes that fit in.
    pub fn capacity(&self) -> i64 {
        nix::fcntl::fcntl(&self.file, FcntlArg::F_GETPIPE_SZ).map_or(0, i64::from)
    }

    /// Bytes that are in it.
    pub fn fill(&self) -> u64 {
        fill(&self.file)
    }

    /// The same pipe, open for reading only: it tells when nobody writes to it any more.
    pub fn reader(&self) -> io::Result<File> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands at the path now.
    pub fn at_path(&self) -> AtPath {
        match fs::metadata(&self.path) {
            Ok(meta) if (meta.dev(), meta.ino()) == self.identity => AtPath::Same,
            Ok(meta) if meta.file_type().is_fifo() => AtPath::Other,
            Err(error) if error.kind() == ErrorKind::NotFound => AtPath::Nothing,
            Ok(_) | Err(_) => AtPath::Useless,
        }
    }
}

/// Bytes that are in a pipe.
pub fn fill(pipe: &File) -> u64 {
    rustix::io::ioctl_fionread(pipe).unwrap_or(0)
}

impl AsFd for Fifo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What stands at the path of an open pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtPath {
    /// The pipe itself.
    Same,
    /// Another pipe: somebody replaced it.
    Other,
    /// Nothing: somebody removed it.
    Nothing,
    /// Something that is no pipe, or that we may not see.
    Useless,
}

/// The descriptor among `inherited` that is our pipe, as a path that opens the same pipe anew: descriptors themselves are borrowed.
fn handed_over(path: &Path, inherited: &[i32]) -> Option<PathBuf> {
    let pipes: Vec<(PathBuf, Metadata)> = inherited
        .iter()
        .map(|descriptor| PathBuf::from(format!("/proc/self/fd/{descriptor}")))
        .filter_map(|path| fs::metadata(&path).ok().filter(|meta| meta.file_type().is_fifo()).map(|meta| (path, meta)))
        .collect();
    let wanted = fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let same = pipes.iter().find(|(_, meta)| wanted == Some((meta.dev(), meta.ino())));
    match (same, pipes.as_slice()) {
        (Some((path, _)), _) => Some(path.clone()),
        (None, [(only, _)]) => Some(only.clone()),
        _ => None,
    }
}

fn check_kind(path: &Path, meta: io::Result<Metadata>) -> Result<(), FifoError> {
    let kind = |what| Err(FifoError::Kind { path: path.to_owned(), what });
    match meta {
        Ok(meta) if meta.file_type().is_fifo() => Ok(()),
        Ok(meta) if meta.is_dir() => kind("a directory"),
        Ok(meta) if meta.is_file() => kind("a regular file"),
        Ok(_) => kind("a device or socket"),
        Err(error) if error.kind() == ErrorKind::NotFound && path.is_symlink() => kind("a dangling symbolic link"),
        Err(source) => Err(FifoError::Io { path: path.to_owned(), what: "cannot be looked at", source }),
    }
}

/// Makes the pipe with the mode, owner and group that are wanted, whatever the umask.
pub fn create(settings: &FifoSettings) -> Result<(), FifoError> {
    let path = &settings.path;
    let io = |what| move |source| FifoError::Io { path: settings.path.clone(), what, source };
    let owner = number("fifo.owner", &settings.owner, |name| {
        User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
    })?;
    let group = number("fifo.group", &settings.group, |name| {
        Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    })?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io("has no folder and it cannot be made"))?;
    }
    match nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)) {
        Ok(()) => {}
        Err(nix::errno::Errno::EEXIST) => return Ok(()),
        Err(error) => return Err(io("cannot be made")(error.into())),
    }
    std::os::unix::fs::chown(path, owner, group).map_err(io("cannot be given its owner"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(settings.mode)).map_err(io("cannot be given its mode"))?;
    log::info!("made the pipe {}", path.display());
    Ok(())
}

fn number(key: &'static str, name: &str, find: impl Fn(&str) -> Option<u32>) -> Result<Option<u32>, FifoError> {
    if name.is_empty() {
        return Ok(None);
    }
    let found = name.parse().ok().or_else(|| find(name));
    found.map(Some).ok_or_else(|| FifoError::Unknown { key, name: name.to_owned() })
}
