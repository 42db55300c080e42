//! Stdout of a client command: a reader that goes away is no error.
//!
//! Knows whether a person looks at it, and how wide their terminal is.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};

use super::super::no_color;

/// Where a command prints its data.
pub(crate) struct Stdout<'a> {
    out: Box<dyn Write + 'a>,
    closed: bool,
    /// Whether states are shown in colour.
    pub(super) color: bool,
    /// The terminal's width in columns; `None` where none looks.
    pub(super) width: Option<usize>,
}

impl Stdout<'static> {
    pub(super) fn open() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let width = terminal.then(terminal_size::terminal_size).flatten();
        let lock: BufWriter<StdoutLock<'static>> = BufWriter::new(stdout.lock());
        Self {
            out: Box::new(lock),
            closed: false,
            color: terminal && !no_color(),
            width: width.map(|(columns, _)| usize::from(columns.0)),
        }
    }
}

impl Stdout<'_> {
    /// Whether the reader has gone: what is written now nobody reads.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Prints one piece of text as it is.
    pub(super) fn print(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.write_all(text.as_ref())?;
        self.flush()
    }

    /// Prints a JSON document in the words of the service, with a line end.
    pub(super) fn print_document(&mut self, body: &[u8]) -> io::Result<()> {
        self.write_all(body.trim_ascii_end())?;
        self.print("\n")
    }

    fn unless_closed<T>(&mut self, done: io::Result<T>, otherwise: T) -> io::Result<T> {
        match done {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(otherwise)
            }
            done => done,
        }
    }
}

impl Write for Stdout<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(text.len());
        }
        let done = self.out.write(text);
        self.unless_closed(done, text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let done = self.out.flush();
        self.unless_closed(done, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printing_to(kind: ErrorKind) -> (io::Result<()>, bool) {
        let out = Box::new(Failing(kind));
        let mut stdout = Stdout { out, closed: false, color: false, width: None };
        let done = stdout.print("text").and_then(|()| stdout.print("more"));
        (done, stdout.is_closed())
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
        assert!(matches!(printing_to(ErrorKind::BrokenPipe), (Ok(()), true)));
        assert!(matches!(printing_to(ErrorKind::StorageFull), (Err(_), false)));
    }
}
