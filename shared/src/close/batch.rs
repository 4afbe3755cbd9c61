//! Partitions that are ready → batches whose files are looked up together, each commit read once.

use std::collections::HashMap;
use std::sync::Arc;

use super::objects::Why;
use super::summary::{PartitionState, Span};
use crate::partition::PartitionPath;
use crate::schema::TableSchema;

/// Files of a batch: they are in memory together.
const FILES: u64 = 100_000;
/// Versions that are looked through for them.
const VERSIONS: u64 = 20_000;

/// A partition that a run looks at.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) table: Arc<TableSchema>,
    pub(super) partition: PartitionPath,
    pub(super) state: PartitionState,
    pub(super) why: Why,
}

/// Partitions of one batch.
#[derive(Debug, Default)]
struct Batch {
    candidates: Vec<Candidate>,
    files: u64,
    versions: u64,
    /// First and last version of each chain. Partitions of the same time lie in the same ones.
    reach: HashMap<u32, (u64, u64)>,
}

/// Batches, in order of the candidates.
pub(super) fn batches(ready: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let mut batches: Vec<Batch> = Vec::new();
    for candidate in ready {
        match batches.last_mut().filter(|last| last.takes(&candidate.state)) {
            Some(last) => last.add(candidate),
            None => {
                let mut next = Batch::default();
                next.add(candidate);
                batches.push(next);
            }
        }
    }
    batches.into_iter().map(|batch| batch.candidates).collect()
}

impl Batch {
    fn takes(&self, state: &PartitionState) -> bool {
        let all: u64 = state.spans.iter().map(|span| length((span.1, span.2))).sum();
        let new: u64 = state.spans.iter().map(|span| length(self.reached(span)) - self.length(span.0)).sum();
        // Better a long look than the same one for each of them.
        let shared = new * 10 <= all && !self.candidates.is_empty();
        self.files + state.files <= FILES && (self.versions + new <= VERSIONS || shared)
    }

    fn add(&mut self, candidate: Candidate) {
        self.files += candidate.state.files;
        for span in &candidate.state.spans {
            let reached = self.reached(span);
            self.versions += length(reached) - self.length(span.0);
            self.reach.insert(span.0, reached);
        }
        self.candidates.push(candidate);
    }

    fn reached(&self, span: &Span) -> (u64, u64) {
        let (from, to) = self.reach.get(&span.0).copied().unwrap_or((span.1, span.2));
        (from.min(span.1), to.max(span.2))
    }

    fn length(&self, chain: u32) -> u64 {
        self.reach.get(&chain).copied().map_or(0, length)
    }
}

fn length((from, to): (u64, u64)) -> u64 {
    to - from + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TableInput;

    fn candidate(n: usize, files: u64, spans: Vec<Span>) -> Candidate {
        let table = serde_json::json!({"Name": "t",
            "StorageDescriptor": {"Columns": [{"Name": "n", "Type": "int"}]},
            "PartitionKeys": [{"Name": "dt", "Type": "string"}], "Parameters": {"weir.partition.dt": "identity(dt)"}});
        let table = TableInput::from_json(&table.to_string()).unwrap();
        let table = Arc::new(TableSchema::from_input(&table).unwrap());
        let state = PartitionState { spans, files, ..PartitionState::default() };
        let partition = PartitionPath::parse(&format!("dt={n}")).unwrap();
        Candidate { table, partition, state, why: Why::Complete }
    }

    fn sizes(ready: Vec<Candidate>) -> Vec<usize> {
        batches(ready).iter().map(Vec::len).collect()
    }

    #[test]
    fn partitions_of_the_same_versions_are_looked_up_together() {
        let everywhere = || (0..100).map(|chain| Span(chain, 1, 150)).collect();
        assert_eq!(sizes((0..500).map(|n| candidate(n, 10, everywhere())).collect()), [500]);
        let apart = |n: usize| vec![Span(0, n as u64 * 1_000, n as u64 * 1_000 + 999)];
        assert_eq!(sizes((0..50).map(|n| candidate(n, 10, apart(n))).collect()), [20, 20, 10]);
        assert_eq!(sizes((0..5).map(|n| candidate(n, 60_000, vec![])).collect()), [1; 5]);
        assert_eq!(sizes((0..2).map(|n| candidate(n, 1, vec![Span(0, 1, 1 << 20)])).collect()), [2]);
        assert_eq!(sizes(vec![]), [0; 0]);
    }
}
