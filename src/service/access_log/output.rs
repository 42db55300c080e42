//! Where the access log's lines go, and how much of them at once.
//!
//! A pipe takes a piece of at most `PIPE_BUF` bytes whole or not at all (pipe(7)), so
//! pieces for anything but a regular file are no longer than that.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

/// Longest piece for a regular file. Unit: bytes.
const PIECE: usize = 64 * 1024;
/// `PIPE_BUF` of pipe(7).
const PIPE_PIECE: usize = 4_096;

/// See the module.
pub(super) enum Output {
    Stderr,
    File { file: File, piece: usize },
}

impl Output {
    /// Opens a file at its end; makes it where there is none, for its owner and group
    /// to read. A pipe that nobody reads is no error: it takes what fits.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        let is_pipe = path.metadata().is_ok_and(|known| known.file_type().is_fifo());
        let file = OpenOptions::new()
            .append(!is_pipe)
            .create(!is_pipe)
            // Or it would wait for a reader (fifo(7)).
            .read(is_pipe)
            .write(true)
            .mode(0o640)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        let regular = file.metadata()?.is_file();
        Ok(Self::File { file, piece: if regular { PIECE } else { PIPE_PIECE } })
    }

    pub(super) const fn piece(&self) -> usize {
        match self {
            Self::Stderr => PIPE_PIECE,
            Self::File { piece, .. } => *piece,
        }
    }

    /// One write(2); how many bytes were taken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self {
            Self::Stderr => io::stderr().write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }?;
        if taken == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(taken) }
    }
}
