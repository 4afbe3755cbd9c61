"""closing_lake.py WEIR TABLE LAKE_FOLDER: reads a table with DuckDB, once for each line of stdin, by
the way that the line names:

    files      the list of `weir files`
    location   what lies at each partition's location, as the lake's catalog has it now
    careful    the same, and the catalog asked again afterwards
    both       a reader that is wrong: live and closed files together

Answers a line: {"hours": {hour: [rows, sum of user_id]}}, or {"gone": why} where files went while
they were read."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb

SQL = """
SELECT hour, count(*), sum(user_id)
FROM read_parquet($files, hive_partitioning=true, hive_types_autocast=false)
GROUP BY hour
"""


class Lake:
    def __init__(self, weir, table, folder):
        self.weir, self.table, self.folder = weir, table, Path(folder)

    def files(self):
        command = [self.weir, "files", "--lake", str(self.folder), "--table", self.table]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]

    def locations(self):
        entries = (self.folder / "_weir/catalog/partitions" / self.table).glob("**/*.json")
        found = [json.loads(entry.read_text())["StorageDescriptor"]["Location"] for entry in entries]
        return sorted(location.removeprefix("file://") for location in found)

    def at_locations(self):
        # Listed by DuckDB itself, as an engine with a catalog does.
        return [f"{location.rstrip('/')}/*.parquet" for location in self.locations()]

    def everything(self):
        return [f"{self.folder}/{self.table}/**/*.parquet"]


def read(session, lake, way):
    before = lake.locations()
    files = {"files": lake.files, "both": lake.everything}.get(way, lake.at_locations)()
    if not files:
        return {"hours": {}}
    try:
        rows = session.execute(SQL, {"files": files}).fetchall()
    except duckdb.IOException as problem:
        return {"gone": str(problem)}
    if way == "careful" and lake.locations() != before:
        return {"gone": "the catalog shows other locations now"}
    return {"hours": {hour: [count, int(total)] for hour, count, total in rows}}


def main(weir, table, folder):
    lake = Lake(weir, table, folder)
    session = duckdb.connect(config={"threads": 1})
    for line in sys.stdin:
        print(json.dumps(read(session, lake, line.strip())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
