"""The peer of a compaction: one sorted copy of many small Parquet files.

    peer_compact.py copy FOLDER SORT OUT THREADS MEMORY_MIB   COPY (SELECT … ORDER BY) TO … (zstd)
    peer_compact.py check ORDER A B                           rows and sums of two folders, and whether
                                                              A is sorted
"""
import glob
import json
import os
import sys

import duckdb


def copy(folder, sort, out, threads, memory):
    os.makedirs(out, exist_ok=True)
    db = duckdb.connect(config={"threads": int(threads)})
    db.sql("SET preserve_insertion_order = false")
    db.sql(f"SET temp_directory = '{out}.tmp'")
    if int(memory):
        db.sql(f"SET memory_limit = '{memory}MiB'")
    # A file at a time like the others': size in bytes, one row group as large as ours.
    db.sql(f"""
        COPY (SELECT * FROM read_parquet('{folder}/*.parquet', hive_partitioning = false) ORDER BY {sort})
        TO '{out}/part.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3, ROW_GROUP_SIZE 131072)
    """)


def check(sort, *folders):
    db = duckdb.connect()
    db.sql("SET TimeZone = 'UTC'")
    answers = []
    for folder in folders:
        files = sorted(glob.glob(f"{folder}/*.parquet"))
        table = f"read_parquet({files!r}, hive_partitioning = false)"
        columns = [row[0] for row in db.sql(f"DESCRIBE SELECT * FROM {table}").fetchall()]
        sums = ", ".join(f"sum(hash({name})::HUGEINT)" for name in columns)
        answers.append([str(value) for value in db.sql(f"SELECT count(*), {sums} FROM {table}").fetchall()[0]])
    first = sort.split(",")[0]
    files = sorted(glob.glob(f"{folders[0]}/*.parquet"))
    breaks = 0
    last = None
    for file in files:
        rows = db.sql(f"""
            SELECT min(v), max(v), count(*) FILTER (v < before), first(v), last(v) FROM
            (SELECT {first} AS v, lag({first}) OVER (ORDER BY file_row_number) AS before
             FROM read_parquet('{file}', file_row_number = true))
        """).fetchall()[0]
        breaks += rows[2] + (last is not None and rows[0] < last)
        last = rows[1]
    print(json.dumps({"answers": answers, "breaks": breaks}))


if __name__ == "__main__":
    {"copy": copy, "check": check}[sys.argv[1]](*sys.argv[2:])
