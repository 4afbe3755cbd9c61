"""Runs Weir's compaction and DuckDB's COPY … ORDER BY in turn over the same small files and prints a
Markdown table.

    compact.py --compaction PROGRAM --work FOLDER [--files 2000] [--rows 11000] [--sort event_time,user_id]

Each sort is a comparison of its own. Figures are of the whole process, as in compare.py. Both outputs
are read back and must agree in every column (sums of hashes), and Weir's must be sorted.
"""
# Nothing heavy is imported: a child's peak starts from its parent's, which Linux carries over exec.
import argparse
import glob
import json
import os
import shutil
import subprocess
import sys

from compare import HERE, Side, measured, talk


class Compaction(Side):
    def __init__(self, program, source, work, sort, dedupe, memory):
        super().__init__("compaction", work)
        self.command = [program, "run", source, sort, dedupe, str(memory)]
        self.data, self.left = f"{source}/clickstream/closed/r0001-bench", f"{source}/_work"

    def run(self):
        for folder in (self.data, self.left):
            shutil.rmtree(folder, ignore_errors=True)
        self.keep(measured(self.command, dict(os.environ), self.log), self.data)


class DuckDB(Side):
    def __init__(self, source, work, sort, threads, memory):
        super().__init__("duckdb-compact", work)
        script = os.path.join(HERE, "peer_compact.py")
        live = f"{source}/clickstream/live"
        self.data = self.folder
        self.command = [sys.executable, script, "copy", live, sort, self.data, str(threads), str(memory)]

    def run(self):
        self.clear()
        self.keep(measured(self.command, dict(os.environ), self.log), self.data)


def report(title, source, weir, duckdb):
    size = sum(map(os.path.getsize, glob.glob(f"{source}/clickstream/live/*.parquet"))) / 1e6
    print(f"\n### {title}: {size:,.0f} MB, medians of {len(weir.runs)} alternating pairs\n")
    print("| | weir | DuckDB | weir / DuckDB |\n|---|---|---|---|")
    rows = [("CPU s", "cpu", ".2f"), ("wall s", "wall", ".2f"), ("peak MiB", "peak", ",.0f"), ("MB out", "out", ".1f")]
    for label, key, form in rows:
        ours, theirs = weir.median(key), duckdb.median(key)
        print(f"| {label} | {ours:{form}} | {theirs:{form}} | {ours / theirs:.2f} |", flush=True)
    print(f"| files | {weir.median('files'):,.0f} | {duckdb.median('files'):,.0f} | |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compaction", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--files", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=11_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--sort", default="event_time;user_id,event_time", help="comparisons, by semicolons")
    parser.add_argument("--dedupe", default="-")
    parser.add_argument("--memory", type=int, default=256, help="MiB for Weir")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer-memory", type=int, default=0, help="MiB for DuckDB; 0 is its default")
    asked = parser.parse_args()
    work = os.path.abspath(asked.work)
    source = os.path.join(work, f"partition-{asked.files}x{asked.rows}")
    if not os.path.exists(f"{source}/inputs.json"):
        talk(f"making {source}")
        subprocess.run([asked.compaction, "make", source, str(asked.files), str(asked.rows)], check=True)
    for sort in asked.sort.split(";"):
        weir = Compaction(os.path.abspath(asked.compaction), source, work, sort, asked.dedupe, asked.memory)
        duckdb = DuckDB(source, work, sort, asked.threads, asked.peer_memory)
        for pair in range(asked.pairs):
            for side in (weir, duckdb) if pair % 2 == 0 else (duckdb, weir):
                side.run()
        script = os.path.join(HERE, "peer_compact.py")
        command = [sys.executable, script, "check", sort, weir.data, duckdb.data]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if asked.dedupe == "-" and found["answers"][0] != found["answers"][1]:
            sys.exit(f"compact: the outputs differ: {found['answers']}")
        if found["breaks"]:
            sys.exit(f"compact: {found['breaks']} rows are out of order")
        report(f"{asked.files:,} files, sorted by {sort}, {found['answers'][0][0]} rows", source, weir, duckdb)


if __name__ == "__main__":
    main()
