//! The suite, and the stores that pass it.

use std::time::Instant;

use futures::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use weir::commit::LakeStore;
use weir_tests::python::Python;

use crate::place::Place;
use crate::{chains, objects};

type Case = (&'static str, fn(LakeStore) -> BoxFuture<'static, ()>);

macro_rules! cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        [$((stringify!($case), |lake| Box::pin($module::$case(lake)))),*]
    };
}

/// Each on an empty lake of its own.
const CASES: [Case; 17] = cases![
    objects::an_object_is_created_once_and_never_changes,
    objects::a_large_and_an_empty_object_come_back_whole,
    objects::lists_are_complete_sorted_and_paged,
    objects::of_sixteen_that_race_for_one_name_exactly_one_wins,
    chains::a_warm_writer_alone_needs_two_puts_and_no_read,
    chains::what_is_delivered_again_in_other_pieces_is_committed_once,
    chains::folded_versions_are_still_known,
    chains::old_ranges_move_to_segments_and_are_still_known,
    chains::a_chain_without_its_checkpoints_is_the_same_chain,
    chains::a_crashed_attempts_files_are_met_probed_around_and_deleted,
    chains::a_file_that_a_commit_called_dead_is_deleted_by_whoever_reads_it,
    chains::a_cut_prefix_is_committed_and_the_rest_reported,
    chains::byte_ranges_of_a_file_commit_and_resume,
    chains::a_hole_or_an_unknown_format_is_a_retryable_error_and_never_a_skip,
    chains::a_name_that_a_repair_dropped_is_never_listed,
    chains::writers_that_race_on_one_chain_commit_each_record_once,
    chains::sixteen_times_the_same_batch_is_one_commit,
];

/// Threads enough that requests really meet.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

fn conforms(place: &Place) {
    let runtime = runtime();
    for (name, case) in CASES {
        // Shown when a case fails: the panic tells the line, this tells the case and the store.
        eprint!("{name} … ");
        let begun = Instant::now();
        runtime.block_on(case(place.lake()));
        eprintln!("{:.2} s", begun.elapsed().as_secs_f64());
    }
}

#[test]
fn memory_keeps_the_protocol() {
    conforms(&Place::Memory);
}

#[test]
fn a_local_disk_keeps_the_protocol() {
    conforms(&Place::disk());
}

#[test]
fn an_s3_server_keeps_the_protocol() {
    let Some(python) = Python::get() else { return };
    conforms(&Place::s3(&python));
}
