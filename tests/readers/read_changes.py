"""Rows of `orders_changes` as DuckDB reads them, one JSON a line: read_changes.py FILES"""

import json
import sys

import duckdb

connection = duckdb.connect()
connection.execute("SET TimeZone='UTC'")
rows = connection.execute(
    """
    SELECT _op, customer_id, order_no, _old::json->>'status', status, total::varchar, epoch(placed_at)::bigint,
           gift, lines, labels, hex(signature), _ttl
    FROM read_parquet(?, hive_partitioning = false)
    ORDER BY length(_sequence), _sequence
    """,
    [sys.argv[1:]],
).fetchall()
for op, customer, order, old, status, total, placed, gift, lines, labels, signature, ttl in rows:
    assert ttl is False
    print(
        json.dumps(
            {
                "op": op,
                "customer_id": customer,
                "order_no": order,
                "old_status": old,
                "status": status,
                "total": total,
                "placed_at": placed,
                "gift": gift,
                "lines": lines and [[line["sku"], line["qty"], str(line["price"])] for line in lines],
                "labels": labels and sorted(labels),
                "signature": signature and signature.lower(),
            }
        )
    )
