"""Times queries over the table clickstream of a lake with one build of `weir` or several, in turn.

    queries.py LAKE WEIR [WEIR ...] [--rounds 5]

Prints a Markdown table: seconds by the clock, the least of all rounds, and what each build takes beside the first.
Compare builds of other levels so: docs/ARCHITECTURE.md, "Build time".
"""

import argparse
import subprocess
import sys
import time

QUERIES = [
    "select count(*) from clickstream",
    "select event_type, count(*), avg(latency_ms) from clickstream group by event_type",
    "select count(distinct user_id) from clickstream",
    "select user_id, count(*) c from clickstream group by user_id order by c desc limit 10",
    "select date_trunc('minute', event_time) m, count(*) from clickstream group by m order by m",
    "select count(*) from clickstream where page_url like '%checkout%'",
    "select device['os'], sum(latency_ms) from clickstream where event_time > timestamp '2026-11-20 03:00:00' group by 1",
    "select a.user_id, count(*) from clickstream a join clickstream b on a.event_id = b.event_id group by 1 order by 2 limit 5",
    "select * from clickstream order by event_time desc limit 20",
    "select percentile_cont(0.99) within group (order by latency_ms) from clickstream",
]


def seconds(program, lake, sql):
    begin = time.perf_counter()
    done = subprocess.run([program, "--lake", lake, "query", sql], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"{program}: {sql}: {done.stderr.decode()}")
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lake")
    parser.add_argument("programs", nargs="+", metavar="WEIR")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("| query | " + " | ".join(arguments.programs) + " |")
    print("|---|" + "---|" * len(arguments.programs))
    for sql in QUERIES:
        rounds = [[seconds(p, arguments.lake, sql) for p in arguments.programs] for _ in range(arguments.rounds)]
        least = [min(times) for times in zip(*rounds)]
        cells = [f"{s:.3f} ({s / least[0]:.2f})" for s in least]
        print(f"| `{sql}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
