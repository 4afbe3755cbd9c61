"""closing_lake.py WEIR TABLE LAKE: reads a table with DuckDB, on S3 with PyArrow, once for each line of
stdin, by the way that the line names:

    files      the list of `weir files`
    slow       the same, read a while later
    location   what lies at each partition's location, as the lake's catalog has it now
    careful    the same, and the catalog asked again afterwards
    both       a reader that is wrong: live and closed files together

Answers a line: {"hours": {hour: [rows, sum of user_id]}}, or {"gone": why} where files went while
they were read."""

import json
import os
import subprocess
import sys
import time
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
        self.session = duckdb.connect(config={"threads": 1})

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


    def read(self, files):
        try:
            return self.session.execute(SQL, {"files": files}).fetchall()
        except duckdb.IOException as problem:
            raise FileNotFoundError(str(problem)) from problem


class LakeOnS3(Lake):
    def __init__(self, weir, table, url):
        from pyarrow import fs

        endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
        self.store = fs.S3FileSystem(endpoint_override=endpoint, scheme="http", region="us-east-1")
        self.weir, self.table, self.url = weir, table, url

    def below(self, folder):
        from pyarrow import fs

        found = self.store.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
        return [info.path for info in found if info.type == fs.FileType.File]

    def files(self):
        command = [self.weir, "files", "--lake", self.url, "--table", self.table]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]
        return [file.removeprefix("s3://") for file in listed]

    def locations(self):
        root = f"{self.url.removeprefix('s3://')}/_weir/catalog/partitions/{self.table}"
        entries = [json.loads(self.store.open_input_file(path).read()) for path in self.below(root)]
        found = [entry["StorageDescriptor"]["Location"] for entry in entries]
        return sorted(location.removeprefix("s3://").rstrip("/") for location in found)

    def at_locations(self):
        return [file for location in self.locations() for file in self.below(location)]

    def read(self, files):
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        hours = {}
        for file in files:
            users = pq.read_table(self.store.open_input_file(file), columns=["user_id"])["user_id"]
            hour = next(part.removeprefix("hour=") for part in file.split("/") if part.startswith("hour="))
            count, total = hours.get(hour, (0, 0))
            hours[hour] = (count + len(users), total + pc.sum(users).as_py())
        return [(hour, count, total) for hour, (count, total) in hours.items()]


def read(lake, way):
    before = lake.locations()
    files = {"files": lake.files, "slow": lake.files, "both": lake.everything}.get(way, lake.at_locations)()
    if way == "slow":
        time.sleep(0.5)
    if not files:
        return {"hours": {}}
    try:
        rows = lake.read(files)
    except FileNotFoundError as problem:
        return {"gone": str(problem)}
    if way == "careful" and lake.locations() != before:
        return {"gone": "the catalog shows other locations now"}
    return {"hours": {hour: [count, int(total)] for hour, count, total in rows}}


def main(weir, table, address):
    lake = (LakeOnS3 if address.startswith("s3://") else Lake)(weir, table, address)
    for line in sys.stdin:
        print(json.dumps(read(lake, line.strip())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
