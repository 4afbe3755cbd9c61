"""Five Parquet readers that others wrote, each turned to UTC, behind one function each:
a list of files → an iterator of Arrow tables. Nothing is cast on the way; Hive keys in the path
are not columns. An engine is imported only when it is asked for."""


def _pyarrow(files):
    import pyarrow.parquet as pq

    for file in files:
        yield pq.ParquetFile(file).read()


def _duckdb(files):
    import duckdb

    session = duckdb.connect(config={"threads": 2})
    session.execute("SET TimeZone='UTC'")
    yield session.read_parquet(files, hive_partitioning=False, union_by_name=True).to_arrow_table()


def _polars(files):
    import polars as pl

    for file in files:
        yield pl.read_parquet(file, hive_partitioning=False).to_arrow(compat_level=pl.CompatLevel.oldest())


def _datafusion(files):
    import datafusion

    config = datafusion.SessionConfig().with_target_partitions(2).set("datafusion.execution.time_zone", "+00:00")
    session = datafusion.SessionContext(config)
    for file in files:
        yield session.read_parquet(file).to_arrow_table()


def _chdb(files):
    import chdb

    settings = ", ".join(
        [
            "session_timezone='UTC'",
            "use_hive_partitioning=0",
            "schema_inference_make_columns_nullable=1",
            "output_format_arrow_string_as_string=0",
            "output_format_arrow_use_signed_indexes_for_dictionary=1",
            "max_threads=2",
        ]
    )
    for file in files:
        quoted = file.replace("\\", "\\\\").replace("'", "\\'")
        yield chdb.query(f"SELECT * FROM file('{quoted}', 'Parquet') SETTINGS {settings}", "ArrowTable")


ENGINES = {"pyarrow": _pyarrow, "duckdb": _duckdb, "polars": _polars, "datafusion": _datafusion, "chdb": _chdb}

# Has no nulls of lists, maps and structs: compared by the loose form.
LOOSE = {"chdb"}
