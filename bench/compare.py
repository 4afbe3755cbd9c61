"""Runs `weir ingest` and DuckDB in turn on the same clickstream and prints a Markdown table.

    compare.py --weir PROGRAM --work FOLDER [--pairs 3] [--variants base,10x,partitions,shuffled]

Figures are of the whole process, by wait4: CPU is user + system time, peak is the largest resident
set. Each variant's pairs alternate, so that both meet the same machine; the last column is the
ratio of medians. Both outputs are read back and must agree on rows and sums.
"""
# Nothing heavy is imported: a child's peak starts from its parent's, which Linux carries over exec.
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
VARIANTS = {
    "base": ("{rows} rows in order of time, 12 partitions", 1, []),
    "10x": ("ten times the rows", 10, []),
    "partitions": ("500 partitions", 1, ["--hours", "500"]),
    "shuffled": ("shuffled in time", 1, ["--shuffled"]),
}


def talk(*words):
    print(*words, file=sys.stderr, flush=True)


def measured(command, env, log):
    """CPU s, wall s, peak MiB of a command and all it waits for."""
    begun = time.monotonic()
    with open(log, "ab") as out:
        child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT)
        _, status, used = os.wait4(child.pid, 0)
    wall = time.monotonic() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"compare: {' '.join(command)} failed with {child.returncode}; see {log}")
    return {"cpu": used.ru_utime + used.ru_stime, "wall": wall, "peak": used.ru_maxrss / 1024}


def bytes_under(folder):
    """Bytes of the Parquet files, and how many there are."""
    files = [os.path.join(d, f) for d, _, names in os.walk(folder) for f in names if f.endswith(".parquet")]
    return sum(map(os.path.getsize, files)), len(files)


class Side:
    """A program that loads a file into an empty folder, and what its runs took."""

    def __init__(self, name, work):
        self.name, self.folder, self.log = name, os.path.join(work, name), os.path.join(work, name + ".log")
        self.runs = []

    def clear(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)

    def keep(self, run, data):
        size, files = bytes_under(data)
        self.runs.append(run | {"out": size / 1e6, "files": files})
        talk(f"  {self.name}: cpu {run['cpu']:.2f} s, wall {run['wall']:.2f} s, peak {run['peak']:.0f} MiB")

    def median(self, what):
        return statistics.median(run[what] for run in self.runs)


class Weir(Side):
    def __init__(self, program, work):
        super().__init__("weir", work)
        self.program = program
        self.data = os.path.join(self.folder, "clickstream")

    def load(self, source):
        self.clear()
        env = os.environ | {"WEIR_LAKE": "file://" + self.folder}
        env.pop("WEIR_CATALOG", None)
        subprocess.run([self.program, "tables", "apply"], env=env, cwd=ROOT, check=True, stdout=sys.stderr)
        self.keep(measured([self.program, "ingest", source, "--table", "clickstream"], env, self.log), self.data)


class DuckDB(Side):
    def __init__(self, threads, work):
        super().__init__("duckdb", work)
        self.threads, self.data = threads, self.folder

    def load(self, source):
        self.clear()
        script = os.path.join(HERE, "peer_duckdb.py")
        command = [sys.executable, script, "load", source, self.folder, str(self.threads)]
        self.keep(measured(command, dict(os.environ), self.log), self.data)


def generated(work, rows, factor, options):
    """The input of a variant, made once."""
    name = "-".join(["clickstream", str(rows * factor), *(o.strip("-") for o in options)]) + ".ndjson"
    path = os.path.join(work, name)
    if not os.path.exists(path):
        talk(f"generating {path}")
        script = os.path.join(HERE, "clickstream.py")
        subprocess.run([sys.executable, script, str(rows * factor), path, *options], check=True)
    return path


def agree(sides):
    """Both read back alike, by DuckDB."""
    script = os.path.join(HERE, "peer_duckdb.py")
    command = [sys.executable, script, "check", *(side.data for side in sides)]
    answers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if answers[0] != answers[1]:
        sys.exit(f"compare: the outputs differ: {dict(zip((s.name for s in sides), answers))}")
    return answers[0][0]


def report(title, source, weir, duckdb):
    size = os.path.getsize(source) / 1e6
    print(f"\n### {title}: {size:,.0f} MB of NDJSON, medians of {len(weir.runs)} alternating pairs\n")
    print("| | weir | DuckDB | weir / DuckDB |\n|---|---|---|---|")
    rows = [("CPU s", "cpu", ".2f"), ("wall s", "wall", ".2f"), ("peak MiB", "peak", ",.0f"), ("MB out", "out", ".1f")]
    for label, key, form in rows:
        ours, theirs = weir.median(key), duckdb.median(key)
        print(f"| {label} | {ours:{form}} | {theirs:{form}} | {ours / theirs:.2f} |")
    print(f"| MB/s of input, by the clock | {size / weir.median('wall'):,.0f} | {size / duckdb.median('wall'):,.0f} | |")
    print(f"| files | {weir.median('files'):,.0f} | {duckdb.median('files'):,.0f} | |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weir", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--variants", default="base")
    parser.add_argument("--json", metavar="FILE", help="also write every run to FILE")
    asked = parser.parse_args()
    work = os.path.abspath(asked.work)
    os.makedirs(work, exist_ok=True)

    everything = {}
    for name in asked.variants.split(","):
        title, factor, options = VARIANTS[name]
        source = generated(work, asked.rows, factor, options)
        weir, duckdb = Weir(os.path.abspath(asked.weir), work), DuckDB(asked.threads, work)
        talk(f"{name}: {asked.pairs} pairs")
        for pair in range(asked.pairs):
            # Who goes first changes, so that neither always finds the other's dirty pages.
            for side in (weir, duckdb) if pair % 2 == 0 else (duckdb, weir):
                side.load(source)
        rows = agree((weir, duckdb))
        if rows != asked.rows * factor:
            sys.exit(f"compare: {asked.rows * factor} rows went in, {rows} came out")
        report(title.format(rows=f"{asked.rows:,}"), source, weir, duckdb)
        everything[name] = {"weir": weir.runs, "duckdb": duckdb.runs}
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as out:
            json.dump(everything, out, indent=1)


if __name__ == "__main__":
    main()
