//! Server-sent events: pieces of a body in, the data of events out.
//!
//! Reads what the service sends (WHATWG HTML, 9.2): `data` lines; comments, names and
//! numbers are skipped, since the data carries them too.

use std::collections::VecDeque;

/// Longest event that is read. Unit: bytes.
const MAX_EVENT: usize = 1 << 20;

/// Puts events together.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    data: Vec<u8>,
    ready: VecDeque<String>,
}

/// An event is longer than any that a service sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Reader {
    /// Takes the next piece of the body.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.len() > MAX_EVENT {
                return Err(TooLong);
            }
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
        Ok(())
    }

    /// The data of the next event that is complete.
    pub(super) fn next(&mut self) -> Option<String> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) {
        let line = self.line.trim_ascii_end();
        if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        } else if line.is_empty() && !self.data.is_empty() {
            self.ready.push_back(String::from_utf8_lossy(&self.data).into_owned());
            self.data.clear();
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut_into_pieces() {
        let stream = b": ping\n\nid: 7\nevent: a\ndata: {\"x\":1}\n\ndata:two\r\ndata: lines\r\n\r\ndata: cut";
        for length in 1..stream.len() {
            let mut reader = Reader::default();
            for piece in stream.chunks(length) {
                reader.feed(piece).expect("short");
            }
            let all: Vec<_> = std::iter::from_fn(|| reader.next()).collect();
            assert_eq!(all, ["{\"x\":1}", "two\nlines"], "pieces of {length}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_at_a_bound() {
        let mut reader = Reader::default();
        let fed = (0..300).try_for_each(|_| reader.feed(&[b'x'; 4096]));
        assert_eq!(fed, Err(TooLong));
    }
}
