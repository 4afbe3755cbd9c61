//! `loadgen`: load, latency, cold starts, memory and cost. A place that is kept: it says so and
//! does nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!(
        "loadgen is not built yet: it will put load on a stream and measure latency, cold starts and cost"
    );
    eprintln!(
        "measure one machine with `bench/run.sh`; put your own records with `weir up` or `weir ingest`"
    );
    ExitCode::from(2)
}
