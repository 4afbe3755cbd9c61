//! Names of all listed files in bounded memory: 128 bits of a hash each, and when there are too
//! many, a slice of the hashes at a time.

use sha2::{Digest, Sha256};

/// Hashes of listed keys within one slice of all hashes.
#[derive(Debug)]
pub(super) struct Keys {
    hashes: Vec<u128>,
    room: usize,
    /// First hash of the slice.
    from: u128,
    /// Last hash of the slice.
    to: u128,
    sorted: bool,
}

impl Keys {
    /// At most about `room` hashes.
    pub(super) fn new(room: usize) -> Self {
        Self { hashes: Vec::new(), room: room.max(2), from: 0, to: u128::MAX, sorted: true }
    }

    pub(super) fn insert(&mut self, key: &str) {
        let hash = hash(key);
        if hash < self.from || hash > self.to {
            return;
        }
        self.hashes.push(hash);
        self.sorted = false;
        if self.hashes.len() > self.room {
            // The lower half stays; the rest is for the next pass.
            self.sort();
            let middle = self.hashes[self.hashes.len() / 2];
            if middle < self.to {
                self.to = middle;
                let kept = self.hashes.partition_point(|&h| h <= middle);
                self.hashes.truncate(kept);
            }
        }
    }

    /// To be called before asking.
    pub(super) fn sort(&mut self) {
        if !self.sorted {
            self.hashes.sort_unstable();
            self.hashes.dedup();
            self.sorted = true;
        }
    }

    /// Whether this pass can tell about the key.
    pub(super) fn covers(&self, key: &str) -> bool {
        (self.from..=self.to).contains(&hash(key))
    }

    /// Whether a key of this slice was inserted.
    pub(super) fn contains(&self, key: &str) -> bool {
        debug_assert!(self.sorted);
        self.hashes.binary_search(&hash(key)).is_ok()
    }

    /// Empty, for the hashes after this slice; false if there are none.
    pub(super) fn next_slice(&mut self) -> bool {
        let Some(from) = self.to.checked_add(1) else { return false };
        (self.from, self.to) = (from, u128::MAX);
        self.hashes.clear();
        self.sorted = true;
        true
    }
}

fn hash(key: &str) -> u128 {
    let digest = Sha256::digest(key.as_bytes());
    digest.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_in_the_pass_that_covers_it() {
        for room in [2, 10, 1_000] {
            let mut keys = Keys::new(room);
            let (mut passes, mut found) = (0, 0);
            loop {
                (0..100).for_each(|n| keys.insert(&format!("k{n}")));
                keys.sort();
                for n in 0..200 {
                    let key = format!("k{n}");
                    if keys.covers(&key) {
                        assert_eq!(keys.contains(&key), n < 100, "{key}");
                        found += usize::from(n < 100);
                    }
                }
                passes += 1;
                if !keys.next_slice() {
                    break;
                }
            }
            assert_eq!(found, 100);
            assert_eq!(passes == 1, room == 1_000, "{passes}");
        }
    }
}
