#!/usr/bin/env bash
# Everything that docs/BENCHMARKS.md says, in one command, on a quiet machine:
#
#   bench/run.sh                 the backfill in all variants, cold start, memory sizes, the criterion benches
#   bench/run.sh backfill base   `weir ingest` beside DuckDB: base, 10x, partitions, shuffled
#   bench/run.sh coldstart       process start to first poll, beside an empty function
#   bench/run.sh sweep           memory sizes, and what batches of two sizes cost
#   bench/run.sh compact         compaction beside DuckDB's COPY … ORDER BY; FILES (default 2000)
#   bench/run.sh load            loadgen and `weir up`; bench/load.sh has its parts
#   bench/run.sh criterion       unpack, decode, write, the whole handler, the protocol's share
#
# PAIRS (default 5) and ROWS (default 1000000) change the backfill. Inputs and outputs stay under
# target/bench, 6 GB of them with the variant 10x.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
work="$target/bench"
mkdir -p "$work"

python() {
    local venv="$work/python"
    if ! cmp -s bench/requirements.txt "$venv/requirements.txt"; then
        python3 -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet -r bench/requirements.txt
        cp bench/requirements.txt "$venv/requirements.txt"
    fi
    "$venv/bin/python" "$@"
}

backfill() {
    cargo build --release --locked -p weir-local --bin weir
    python bench/compare.py --weir "$target/release/weir" --work "$work" --rows "${ROWS:-1000000}" \
        --pairs "${PAIRS:-5}" --variants "${1:-base,10x,partitions,shuffled}" --json "$work/backfill.json"
}

# The profile that is deployed, and what measures it.
function_and_loadgen() {
    cargo build --release --locked -p weir-loadgen
    cargo build --profile lambda --locked -p weir-functions --bin ingest
}

coldstart() {
    function_and_loadgen
    cargo build --profile lambda --locked -p weir-bench --bin empty_function
    # In memory, where there is such a folder: a disk's flushes are not the function's.
    local scratch=/dev/shm
    [[ -d "$scratch" ]] || scratch="${TMPDIR:-/tmp}"
    # Written in one go, as what is unpacked on a host: pages of a file that a linker has filled here and there
    # lie in the page cache one by one, and a larger program needs more of them.
    cp "$target/lambda/ingest" "$target/lambda/empty_function" "$work/"
    TMPDIR="$scratch" "$target/release/loadgen" cold "$work/ingest" --baseline "$work/empty_function" \
        --runs "${RUNS:-51}" --out "$work/coldstart.json"
}

sweep() {
    function_and_loadgen
    local loadgen="$target/release/loadgen"
    # Full batches of single records, then small ones, each at its cheapest size.
    "$loadgen" sweep "$target/lambda/ingest" --records 5000 --out "$work/sweep.json"
    "$loadgen" sweep "$target/lambda/ingest" --records 185 --memory 128,256,512,1769 --out "$work/sweep-100kb.json"
    "$loadgen" cost --sweep "$work/sweep.json" --sweep "$work/sweep-100kb.json" --out "$work/cost.json"
}

compact() {
    cargo build --profile bench --locked -p weir-bench --bin compaction
    python bench/compact.py --compaction "$target/release/compaction" --work "$work" \
        --files "${FILES:-2000}" --pairs "${PAIRS:-5}" "$@"
}

criterion() {
    cargo bench --locked -p weir-bench -- "$@"
}

case "${1:-all}" in
    backfill | coldstart | sweep | compact | criterion) "$@" ;;
    load) shift && bench/load.sh "$@" ;;
    all) backfill && coldstart && sweep && compact && criterion ;;
    *) sed -n '2,13p' "$0" >&2 && exit 2 ;;
esac
