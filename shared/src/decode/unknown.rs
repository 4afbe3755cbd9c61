//! Fields that the table does not know: counted by path, and kept as text where the table rescues.

use std::collections::BTreeMap;

use crate::limits::MAX_RESCUED_BYTES;
use crate::schema::UnknownFields;

/// Distinct paths counted by name; later ones are counted together, so that keys made of ids
/// cannot fill the memory.
const MAX_PATHS: usize = 1_000;

/// Longest path counted by name.
const MAX_PATH_BYTES: usize = 256;

/// Whether a key is the name of a field. Others are content that stands where names should (an
/// address, an id with spaces), and counters go into logs.
fn is_name(key: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$' | b':');
    key.len() <= 64 && key.bytes().all(plain)
}

/// Counters and the rescued text of the row under construction.
#[derive(Debug)]
pub(crate) struct Unknown {
    pub(crate) policy: UnknownFields,
    counts: BTreeMap<String, u64>,
    /// Whether this row's fields are counted: not when it is decoded a second time.
    counting: bool,
    rescued: Vec<u8>,
    path: String,
}

impl Unknown {
    pub(crate) fn new(policy: UnknownFields) -> Self {
        Self { policy, counts: BTreeMap::new(), counting: true, rescued: Vec::new(), path: String::new() }
    }

    pub(crate) fn count(&mut self, parent: &str, key: &str) {
        if !self.counting {
            return;
        }
        self.path.clear();
        self.path.push_str(parent);
        self.path.push_str(if is_name(key) { key } else { "*" });
        if self.path.len() > MAX_PATH_BYTES {
            self.path = "(other)".to_owned();
        }
        if let Some(n) = self.counts.get_mut(&self.path) {
            *n += 1;
        } else if self.counts.len() < MAX_PATHS {
            self.counts.insert(self.path.clone(), 1);
        } else {
            *self.counts.entry("(other)".into()).or_default() += 1;
        }
    }

    pub(crate) fn rescue(&mut self, parent: &str, key: &str, raw: &[u8]) {
        self.rescued.push(if self.rescued.is_empty() { b'{' } else { b',' });
        let name = serde_json::to_vec(&format!("{parent}{key}")).unwrap_or_default();
        self.rescued.extend_from_slice(&name);
        self.rescued.push(b':');
        self.rescued.extend_from_slice(raw);
    }

    /// The row's rescued text and whether it was cut; `None` if there is nothing.
    pub(crate) fn take_rescued(&mut self) -> Option<(&[u8], bool)> {
        if self.rescued.is_empty() {
            return None;
        }
        self.rescued.push(b'}');
        let cut = self.rescued.len() > MAX_RESCUED_BYTES;
        let mut end = self.rescued.len().min(MAX_RESCUED_BYTES);
        while cut && self.rescued[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        Some((&self.rescued[..end], cut))
    }

    pub(crate) fn begin_row(&mut self) {
        self.rescued.clear();
    }

    /// Whether the next rows' fields are counted.
    pub(crate) fn set_counting(&mut self, counting: bool) {
        self.counting = counting;
    }

    pub(crate) fn take_counts(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.counts)
    }
}
