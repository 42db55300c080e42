//! A table of fixed size that forgets whoever there is least to remember of.
//!
//! Each key has its place in one small set of entries, found through a hash that senders
//! cannot foresee; the sets do not grow. So a lookup costs the same however many keys
//! there are, and nobody can push out a chosen entry.

/// Entries of a set.
const WAYS: usize = 8;

/// What is remembered of one key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry<V> {
    key: u64,
    /// When there will be nothing to remember any more: in a set, who comes first here
    /// is forgotten first.
    pub(super) until: u64,
    pub(super) value: V,
}

/// Entries by key.
pub(super) struct Memory<V> {
    sets: Box<[[Entry<V>; WAYS]]>,
}

impl<V: Copy + Default> Memory<V> {
    /// Remembers at most `entries` keys, a multiple of eight, and at least eight.
    pub(super) fn new(entries: usize) -> Self {
        Self { sets: vec![Default::default(); (entries / WAYS).max(1)].into_boxed_slice() }
    }

    /// What is remembered of the key, if anything is.
    pub(super) fn find(&self, key: u64) -> Option<&V> {
        let set = &self.sets[self.set(key)];
        set.iter().find(|entry| entry.key == marked(key)).map(|entry| &entry.value)
    }

    /// The entry of the key; a new one, in the place of whoever there is least to remember
    /// of, where there is none.
    pub(super) fn entry(&mut self, key: u64) -> &mut Entry<V> {
        let number = self.set(key);
        let set = &mut self.sets[number];
        let key = marked(key);
        let mut place = 0;
        for (way, entry) in set.iter().enumerate() {
            if entry.key == key {
                place = way;
                break;
            }
            if entry.until < set[place].until {
                place = way;
            }
        }
        let entry = &mut set[place];
        if entry.key != key {
            *entry = Entry { key, ..Entry::default() };
        }
        entry
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sets.iter().flatten().filter(|entry| entry.key != 0).count()
    }

    /// The upper half of the key decides: the lower one has chosen the part.
    fn set(&self, key: u64) -> usize {
        (key >> 32) as usize % self.sets.len()
    }
}

/// No key is 0: that is an entry which nobody has used.
const fn marked(key: u64) -> u64 {
    key | 1 << 16
}
