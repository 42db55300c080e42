//! The first bytes that a client sent, as many as are to be kept.
//!
//! Costs a comparison where none are.

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head(Option<Box<Kept>>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kept {
    /// How many more are to be kept.
    wanted: usize,
    bytes: Vec<u8>,
}

impl Head {
    /// Keeps at most so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        let kept = || Box::new(Kept { wanted: most, bytes: Vec::new() });
        Self((most > 0).then(kept))
    }

    /// Keeps of these what is still wanted.
    #[inline]
    pub(crate) fn take_in(&mut self, read: &[u8]) {
        if let Some(kept) = &mut self.0 {
            kept.take_in(read);
        }
    }

    /// What was kept.
    pub(crate) fn into_bytes(self) -> Box<[u8]> {
        self.0.map_or_else(Box::default, |kept| kept.bytes.into())
    }
}

impl Kept {
    fn take_in(&mut self, read: &[u8]) {
        let taken = &read[..read.len().min(self.wanted)];
        self.wanted -= taken.len();
        self.bytes.extend_from_slice(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_kept_however_they_come() {
        let mut head = Head::new(5);
        head.take_in(b"one");
        head.take_in(b"two");
        head.take_in(b"three");
        assert_eq!(*head.into_bytes(), *b"onetw");
    }
}
