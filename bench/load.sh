#!/usr/bin/env bash
# The section Load of docs/BENCHMARKS.md, on a quiet machine:
#
#   bench/load.sh                all of it
#   bench/load.sh generator      what the generator costs by itself
#   bench/load.sh sink           how fast the generator sends to what only reads
#   bench/load.sh endpoint       how fast the embedded endpoint alone takes records, and aggregates
#   bench/load.sh put            how fast PutRecords goes into a lake, and what either side spends on it
#   bench/load.sh aggregate      200,000 events a second in aggregates
#   bench/load.sh sustained      the highest rate into the lake of `weir up`
#   bench/load.sh memory         the generator's memory over five minutes
#
# SECONDS_EACH (default 10) is how long each rate goes; NO_BUILD takes the programs as they are. Lakes stand under target/bench and go at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

bin="${CARGO_TARGET_DIR:-target}/release"
each="${SECONDS_EACH:-10}"
work="$(mkdir -p "${CARGO_TARGET_DIR:-target}/bench" && mktemp -d "${CARGO_TARGET_DIR:-target}/bench/load-XXXXXX")"
port="${PORT:-4599}"
up=""

finish() {
    stop
    rm -rf "$work"
}
trap finish EXIT

# Waits for what was started.
ready() {
    for _ in $(seq 100); do
        grep -q "Ctrl-C stops" "$work/up.log" && return
        sleep 0.1
    done
    cat "$work/up.log" >&2
    exit 1
}

# weir_up TABLE: an endpoint without limits, with an empty lake.
weir_up() {
    stop
    rm -rf "$work/lake" "$work/state"
    "$bin/weir" --lake "$work/lake" up --table "$1" --port "$port" --no-limits --window 1s --shards 2 \
        --state "$work/state" --close-every 0s > "$work/up.log" 2>&1 &
    up=$!
    ready
}

# The endpoint without a function behind it.
endpoint_alone() {
    stop
    rm -rf "$work/state"
    "$bin/examples/endpoint" "$port" "$work/state" "$1" 2 > "$work/up.log" 2>&1 &
    up=$!
    ready
}

stop() {
    [ -z "$up" ] || { kill "$up" && wait "$up" || true; }
    up=""
}

# Processor seconds of `weir up` and of the function that it runs.
spent() {
    local ticks=0 pid
    for pid in "$up" $(cat "/proc/$up/task/"*/children); do
        ticks=$((ticks + $(cut -d' ' -f14,15 "/proc/$pid/stat" | tr ' ' +)))
    done
    awk -v t="$ticks" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.1f\n", t / hz }'
}

loadgen() {
    "$bin/loadgen" run --endpoint "http://127.0.0.1:$port" --lake "$work/lake" "$@"
}

generator() {
    "$bin/loadgen" bench clickstream access_log sensor_readings
}

# What the generator does by the clock, with nothing on the other side that could be the limit.
sink() {
    "$bin/weir" --lake "$work/lake" tables apply > /dev/null
    stop
    "$bin/sink" "$port" > "$work/up.log" 2>&1 &
    up=$!
    ready
    for run in "access_log --rate 1000000/s --bytes 300" "access_log --rate 43000/s --bytes 300" \
        "clickstream --rate 1000000/s --aggregate" "clickstream --rate 200000/s --aggregate"; do
        echo "== sink: $run"
        # shellcheck disable=SC2086 # words
        loadgen --no-watch --for "${each}s" --table $run || true
        echo "sink           $(spent) s of processor time so far"
    done
}

endpoint() {
    "$bin/weir" --lake "$work/lake" tables apply > /dev/null
    for run in "access_log --rate 1000000/s --bytes 300" "clickstream --rate 1000000/s" \
        "clickstream --rate 200000/s --aggregate" "clickstream --rate 1000000/s --aggregate"; do
        endpoint_alone "${run%% *}"
        echo "== endpoint alone: $run"
        # shellcheck disable=SC2086 # words
        loadgen --no-watch --for "${each}s" --table $run || true
        echo "endpoint       $(spent) s of processor time so far"
    done
}

put() {
    for table in access_log clickstream; do
        weir_up "$table"
        echo "== $table, as fast as it is taken; nothing is followed"
        loadgen --table "$table" --no-watch --rate 1000000/s --for "${each}s" --bytes 300
        echo "weir up        $(spent) s of processor time so far, function included"
    done
}

aggregate() {
    weir_up clickstream
    for watch in --no-watch --settle=60s; do
        echo "== 200,000 events/s in aggregates, $watch"
        loadgen --rate 200000/s --for "${each}s" --aggregate "$watch" || true
        echo "weir up        $(spent) s of processor time so far, function included"
    done
}

sustained() {
    for packing in "" --aggregate; do
        weir_up clickstream
        echo "== highest rate, records of ${packing:-single events}"
        loadgen --find-max --rate "${RATE:-5000}/s" --for "${each}s" --within 3s --settle 60s $packing || true
    done
}

memory() {
    weir_up clickstream
    loadgen --rate "${RATE:-5000}/s" --for 300s --settle 60s --out "$work/memory"
    python3 - "$work/memory.json" <<'PY'
import json, sys
series = json.load(open(sys.argv[1]))["series"]
for second in (30, 60, 180, 300):
    print(f"{second:4} s {series[min(second, len(series)) - 1]['rss_bytes'] / 1e6:7.1f} MB")
PY
}

if [ -z "${NO_BUILD:-}" ]; then
    cargo build --release --locked -p weir-local --bin weir --example endpoint -p weir-loadgen --bin loadgen
    cargo build --release --locked -p weir-bench --bin sink
fi
case "${1:-all}" in
    generator | sink | endpoint | put | aggregate | sustained | memory) "$1" ;;
    all) generator && sink && endpoint && put && aggregate && sustained && memory ;;
    *) sed -n '2,13p' "$0" >&2 && exit 2 ;;
esac
