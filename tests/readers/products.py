"""products.py: the aggregate `clickstream_products`, made anew by DuckDB from closed files and
compared row by row with what the job wrote.

stdin: {"source": [files], "target": [files]}. Prints one JSON object: rows, of them with purchases,
and how many rows only one side has."""

import json
import sys

import duckdb

EXPECTED = """
SELECT
    hour_start::TIMESTAMP AS hour_start,
    sku,
    count(*) FILTER (event_type IN ('page_view', 'click')) AS product_views,
    count(*) FILTER (event_type = 'add_to_cart') AS carts,
    count(*) FILTER (event_type = 'purchase') AS purchases,
    count(DISTINCT user_id) FILTER (event_type = 'purchase') AS buyers,
    sum(qty) FILTER (event_type = 'purchase')::BIGINT AS units_sold,
    (sum(qty * price) FILTER (event_type = 'purchase'))::DECIMAL(18, 2) AS revenue,
    CASE WHEN carts = 0 THEN NULL ELSE purchases::DOUBLE / carts END AS purchases_per_cart
FROM (
    SELECT
        date_trunc('hour', event_time AT TIME ZONE 'UTC') AS hour_start, event_type, user_id,
        item.sku, item.qty, item.price
    FROM (SELECT *, unnest(items) AS item FROM read_parquet($files))
    WHERE is_bot IS DISTINCT FROM TRUE
)
GROUP BY ALL
"""
FOUND = """
SELECT
    hour_start AT TIME ZONE 'UTC' AS hour_start, sku, product_views, carts, purchases, buyers, units_sold,
    revenue, purchases_per_cart
FROM read_parquet($files)
"""


def main():
    asked = json.load(sys.stdin)
    session = duckdb.connect(config={"threads": 2})
    session.execute("SET TimeZone='UTC'")
    for name, sql, files in (("expected", EXPECTED, asked["source"]), ("found", FOUND, asked["target"])):
        session.execute(f"CREATE TABLE {name} AS {sql}", {"files": files})
    number = lambda sql: session.execute(sql).fetchone()[0]
    report = {
        "rows": number("SELECT count(*) FROM found"),
        "purchases": number("SELECT count(*) FROM found WHERE revenue > 0"),
        "missing": number("SELECT count(*) FROM (FROM expected EXCEPT ALL FROM found)"),
        "wrong": number("SELECT count(*) FROM (FROM found EXCEPT ALL FROM expected)"),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
