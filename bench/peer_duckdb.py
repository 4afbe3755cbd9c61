"""DuckDB at the work of `weir ingest`: NDJSON → declared types → Hive partitions by day and hour of
the event time → Parquet with zstd level 3.

    peer_duckdb.py load INPUT OUT THREADS
    peer_duckdb.py check FOLDER…      rows and sums of each folder's Parquet, as JSON
"""
import json
import sys

import duckdb

TYPES = {
    "event_id": "VARCHAR",
    "event_type": "VARCHAR",
    "event_time": "TIMESTAMP",
    "user_id": "BIGINT",
    "session_id": "VARCHAR",
    "page_url": "VARCHAR",
    "referrer": "VARCHAR",
    "ip": "VARCHAR",
    "user_agent": "VARCHAR",
    "device": "STRUCT(os VARCHAR, browser VARCHAR, width INTEGER, height INTEGER)",
    "country": "VARCHAR",
    "latency_ms": "DOUBLE",
    "is_bot": "BOOLEAN",
    "items": "STRUCT(sku VARCHAR, qty INTEGER, price DECIMAL(10,2))[]",
    "properties": "MAP(VARCHAR, VARCHAR)",
}


def load(source, out, threads):
    session = duckdb.connect(config={"threads": int(threads), "preserve_insertion_order": False})
    rows = session.read_json(source, format="newline_delimited", columns=TYPES)
    keyed = rows.project("*, CAST(event_time AS DATE) AS dt, hour(event_time) AS hour")
    session.register("keyed", keyed)
    session.execute(
        f"COPY keyed TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3, PARTITION_BY (dt, hour))"
    )


def check(*folders):
    session = duckdb.connect()
    session.execute("SET TimeZone='UTC'")
    ask = (
        "SELECT count(*), sum(user_id), min(epoch_us(event_time)), max(epoch_us(event_time)), sum(length(page_url)), "
        "sum(len(items)), count(referrer) FROM read_parquet(?, hive_partitioning=false)"
    )
    print(json.dumps([[int(v) for v in session.execute(ask, [f"{f}/**/*.parquet"]).fetchone()] for f in folders]))


if __name__ == "__main__":
    {"load": load, "check": check}[sys.argv[1]](*sys.argv[2:])
