//! The built programs, before they do any work.

use weir_tests::binaries;

#[test]
fn the_programs_under_test_are_built() {
    for program in [binaries::weir(), binaries::ingest(), binaries::loadgen()] {
        assert!(program.is_file(), "{} is not there", program.display());
    }
}
