"""One aggregation job of this folder over one closed partition, on Spark 3.5 (Glue 5).

The same SQL files run on DataFusion (`weir jobs run`); docs/JOBS.md has the subset that both answer
alike. As a Glue job it takes the arguments of StartJobRun:

    --weir_job clickstream_pages      file without its ending
    --weir_jobs s3://bucket/jobs      folder of the files
    --weir_table clickstream          table whose partition was closed
    --weir_partition dt=2026-11-20/hour=2026-11-20-05
    --weir_location s3://…/r0002-1f3a/    the closed files
    --weir_revision 2
    --weir_action ID                  the same for every start of this action; only logged
    --weir_lake s3://bucket/lake
    --weir_catalog glue://database    left out: definitions are the lake's own, and nothing is switched

Starting it twice is harmless: each run writes into a directory of its own, and the catalog shows the
first one of a revision. What it does is printed, one JSON object a line.
"""

import argparse
import json
import re
import sys
import uuid
from urllib.parse import unquote

SESSION = {
    "spark.sql.session.timeZone": "UTC",
    # Overflows, bad casts and divisions by zero are errors, not nulls.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parser.escapedStringLiterals": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.writeLegacyFormat": "false",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
}
HEADER = ("source", "target", "keys", "unnest", "version")
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class Job:
    """A file's header; lines as in docs/JOBS.md."""

    def __init__(self, name, sql):
        self.name, self.sql, found = name, sql, {}
        for line in sql.splitlines():
            if line.strip() and not line.startswith("--"):
                break
            setting = re.match(r"--\s*([a-z]+): (.*)", line)
            if setting:
                found[setting.group(1)] = setting.group(2).strip()
        wrong = [name for name in found if name not in HEADER]
        if wrong:
            raise ValueError(f"{name}.sql: there is no header line {wrong[0]}; `weir jobs check` says more")
        self.source, self.target = found["source"], found["target"]
        self.keys = [key.strip() for key in found["keys"].split(",")]
        self.unnest = [part.strip() for part in found["unnest"].split(" as ")] if "unnest" in found else None
        self.version = int(found.get("version", 1))

    def output_revision(self, source_revision):
        """Above all of the versions before, the same as the source's for the first one."""
        return (self.version - 1) * 100_000 + min(source_revision, 99_999)


def partition_values(path):
    """`dt=2026-11-20/hour=…` → the keys with their values, null as None."""
    pairs = [part.split("=", 1) for part in path.split("/") if part]
    return {key: None if value == NULL_PARTITION else unquote(value) for key, value in pairs}


def open_session(**more):
    """A session that answers as DataFusion does; Glue's own if there is one."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("weir")
    for key, value in {**SESSION, **more}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.sparkContext._jsc.hadoopConfiguration().set(
        "mapreduce.fileoutputcommitter.marksuccessfuljobs", "false"
    )
    return spark


def columns_of(definition):
    return [(c["Name"], c["Type"]) for c in definition["StorageDescriptor"]["Columns"]]


def register(spark, job, definition, location, values):
    """The tables that the SQL names: the source, and its opened array."""
    from pyspark.sql import functions as f

    ddl = ", ".join(f"`{name}` {ty}" for name, ty in columns_of(definition))
    source = spark.read.schema(ddl).parquet(location)
    for key in definition.get("PartitionKeys", []):
        source = source.withColumn(key["Name"], f.lit(values[key["Name"]]).cast(key["Type"]))
    source.createOrReplaceTempView(job.source)
    if not job.unnest:
        return
    column, name = job.unnest
    others = [c for c in source.columns if c != column]
    opened = source.select(*others, f.explode(column).alias(name))
    element = opened.schema[name].dataType
    if hasattr(element, "fieldNames"):
        fields = [f.col(name)[field].alias(f"{name}_{field}") for field in element.fieldNames()]
        opened = opened.select(*others, *fields)
    opened.createOrReplaceTempView(name)


def result(spark, job, target):
    """The job's rows in the columns of its target, sorted by its keys."""
    from pyspark.sql import functions as f

    rows, wanted = spark.sql(job.sql), columns_of(target)
    if [c.lower() for c in rows.columns] != [name for name, _ in wanted]:
        raise ValueError(f"{job.name}.sql gives {rows.columns}, table {job.target} has {wanted}")
    rows = rows.toDF(*[name for name, _ in wanted])
    rows = rows.select(*[f.col(name).cast(ty).alias(name) for name, ty in wanted])
    return rows.orderBy(*[f.col(key).asc_nulls_last() for key in job.keys])


def write(spark, job, rows, target, directory):
    """Parquet in the lake's profile; refuses rows that share their keys."""
    from pyspark.sql import functions as f

    codec = target.get("Parameters", {}).get("weir.compression", "zstd")
    rows.write.mode("errorifexists").option("compression", codec).parquet(directory)
    written = spark.read.schema(rows.schema).parquet(directory)
    by_key = written.groupBy(*job.keys).agg(f.count("*").alias("rows"))
    rows, most = by_key.agg(f.coalesce(f.sum("rows"), f.lit(0)), f.max("rows")).first()
    if rows and most > 1:
        raise ValueError(f"{job.name}.sql: up to {most} rows share the keys {job.keys}")
    return rows


def remove(spark, directory):
    path = spark._jvm.org.apache.hadoop.fs.Path(directory)
    path.getFileSystem(spark._jsc.hadoopConfiguration()).delete(path, True)


def read_text(spark, address):
    return "\n".join(row.value for row in spark.read.text(address).collect())


class LakeDefinitions:
    """Tables of a lake without Glue. Partitions are not switched: that is for `weir`."""

    def __init__(self, spark, lake):
        self.spark, self.lake = spark, lake

    def table(self, name):
        return json.loads(read_text(self.spark, f"{self.lake}/_weir/catalog/tables/{name}.json"))

    def revision(self, _table, _values):
        return 0

    def switch(self, _table, _values, directory, _revision):
        return directory


class GlueDefinitions:
    """Tables and partitions of a Glue database."""

    # What GetPartition answers and UpdatePartition does not take.
    READ_ONLY = ("DatabaseName", "TableName", "CreationTime", "CatalogId")

    def __init__(self, glue, database):
        self.glue, self.database = glue, database

    def table(self, name):
        return self.glue.get_table(DatabaseName=self.database, Name=name)["Table"]

    def entry(self, table, values):
        try:
            return self.glue.get_partition(
                DatabaseName=self.database, TableName=table, PartitionValues=values
            )["Partition"]
        except self.glue.exceptions.EntityNotFoundException:
            return None

    def revision(self, table, values):
        entry = self.entry(table, values)
        return int((entry or {}).get("Parameters", {}).get("weir.revision", 0))

    def switch(self, table, values, directory, revision):
        """Changes location and revision of the whole entry and nothing else; a newer one stays."""
        for _ in range(3):
            entry = self.entry(table, values)
            if entry and int(entry.get("Parameters", {}).get("weir.revision", 0)) >= revision:
                return entry["StorageDescriptor"]["Location"]
            if entry:
                new = {key: value for key, value in entry.items() if key not in self.READ_ONLY}
            else:
                storage = self.table(table)["StorageDescriptor"]
                new = {"Values": values, "StorageDescriptor": storage}
            new["StorageDescriptor"] = {**new["StorageDescriptor"], "Location": directory}
            new["Parameters"] = {**new.get("Parameters", {}), "weir.revision": str(revision)}
            names = {"DatabaseName": self.database, "TableName": table, "PartitionInput": new}
            if entry:
                self.glue.update_partition(**names, PartitionValueList=values)
            else:
                try:
                    self.glue.create_partition(**names)
                except self.glue.exceptions.AlreadyExistsException:
                    continue
            # The next round reads back what stands there now.
        return self.entry(table, values)["StorageDescriptor"]["Location"]


def run(spark, job, definitions, lake, location, path, revision):
    """One job over one partition; what it came to."""
    values = partition_values(path)
    in_order = [NULL_PARTITION if value is None else value for value in values.values()]
    output = job.output_revision(revision)
    done = {"job": job.name, "target": job.target, "partition": path, "revision": output}
    if definitions.revision(job.target, in_order) >= output:
        return {**done, "switched": False}
    target = definitions.table(job.target)
    register(spark, job, definitions.table(job.source), location, values)
    middle = f"/{path}" if path else ""
    directory = f"{lake}/{job.target}/closed{middle}/r{output:04}-{uuid.uuid4().hex[:16]}/"
    rows = write(spark, job, result(spark, job, target), target, directory)
    shown = definitions.switch(job.target, in_order, directory, output)
    switched = shown.rstrip("/") == directory.rstrip("/")
    if not switched:
        # Another run of this revision or a later one came first; no catalog will ever show this one.
        remove(spark, directory)
    return {**done, "rows": rows, "location": shown, "switched": switched}


def main(arguments):
    parser = argparse.ArgumentParser()
    for name in ("job", "jobs", "table", "partition", "location", "revision", "action", "lake", "catalog"):
        parser.add_argument(f"--weir_{name}", dest=name)
    # Glue adds arguments of its own.
    given, _ = parser.parse_known_args(arguments)
    missing = [n for n in ("job", "jobs", "location", "revision", "lake") if not getattr(given, n)]
    if missing:
        sys.exit(f"run_sql.py: --weir_{missing[0]} is not given; see the top of the file")
    spark = open_session()
    job = Job(given.job, read_text(spark, f"{given.jobs.rstrip('/')}/{given.job}.sql"))
    if given.table and given.table != job.source:
        sys.exit(f"run_sql.py: job {job.name} reads {job.source}, the closed partition is of {given.table}")
    lake = given.lake.rstrip("/")
    if given.catalog and given.catalog.startswith("glue://"):
        import boto3

        definitions = GlueDefinitions(boto3.client("glue"), given.catalog[len("glue://") :].strip("/"))
    else:
        definitions = LakeDefinitions(spark, lake)
    done = run(spark, job, definitions, lake, given.location, given.partition or "", int(given.revision))
    print(json.dumps({**done, "action": given.action}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
