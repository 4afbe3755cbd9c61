//! Partitions that were closed within the grace, held against the catalog: a foreign writer, or a
//! closer that woke up late, may have been there since.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::Closer;
use super::report::Report;
use super::summary::{PartitionState, Summary};
use super::watermark::describe;
use super::work::{shows, values};
use crate::catalog::Partition;
use crate::partition::PartitionPath;
use crate::schema::TableSchema;

/// Entries of a table that a run looks at where each is a request of its own.
const WATCHED_ONE_BY_ONE: usize = 64;

impl Closer {
    /// Partitions that the catalog does not show as they were closed. Of a table with more of them
    /// than a request brings, a run looks at some, and the next one at others.
    pub(super) async fn strayed(
        &self,
        run: &str,
        tables: &BTreeMap<String, Arc<TableSchema>>,
        summary: &Summary,
        report: &mut Report,
    ) -> BTreeSet<(String, PartitionPath)> {
        let most = self.catalog.entries_a_request().max(WATCHED_ONE_BY_ONE);
        let mut strayed = BTreeSet::new();
        for table in tables.keys() {
            let states = summary.tables.get(table).into_iter().flatten();
            let closed: Vec<_> = states.filter(|(_, state)| state.done_at.is_some()).collect();
            let watched = some_of(&closed, most, (run, table));
            if watched.is_empty() {
                continue;
            }
            let asked: Vec<_> = watched.iter().map(|(partition, _)| values(partition)).collect();
            match self.catalog.partitions_of(table, &asked).await {
                Ok(entries) => {
                    let shown: BTreeMap<&[String], &Partition> =
                        entries.iter().map(|entry| (entry.values.as_slice(), entry)).collect();
                    let wrong = watched.iter().zip(&asked).filter(|((_, state), values)| {
                        !is_right(state, shown.get(values.as_slice()).copied())
                    });
                    strayed.extend(wrong.map(|((partition, _), _)| (table.clone(), (*partition).clone())));
                }
                Err(error) => _ = report.tables.insert(table.clone(), describe(&error)),
            }
        }
        strayed
    }
}

fn is_right(state: &PartitionState, entry: Option<&Partition>) -> bool {
    let directory = state.directory.as_deref();
    entry.zip(directory).is_some_and(|(entry, directory)| shows(entry, state.revision, directory))
}

/// At most so many, from a place that is another one in each run.
fn some_of<T: Copy>(all: &[T], most: usize, run: (&str, &str)) -> Vec<T> {
    if all.len() <= most {
        return all.to_vec();
    }
    let mut hasher = DefaultHasher::new();
    run.hash(&mut hasher);
    let from = (hasher.finish() % all.len() as u64) as usize;
    all[from..].iter().chain(&all[..from]).take(most).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_looks_at_some_and_runs_look_at_all() {
        let all: Vec<u32> = (0..10_000).collect();
        assert_eq!(some_of(&all[..64], 64, ("a", "t")), all[..64]);
        let mut seen = BTreeSet::new();
        let mut runs = 0;
        while seen.len() < all.len() {
            let some = some_of(&all, 500, (&format!("run-{runs}"), "t"));
            assert_eq!(some.iter().collect::<BTreeSet<_>>().len(), 500);
            seen.extend(some);
            runs += 1;
        }
        assert!(runs < 250, "within a quarter of a day of runs by the minute: {runs}");
    }
}
