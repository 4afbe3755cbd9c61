"""Rows of the current state of orders as DuckDB reads them where the catalog says, one JSON a line:
read_current.py CATALOG_ENTRY"""

import json
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import duckdb

entry = json.loads(Path(sys.argv[1]).read_text())
folder = unquote(urlparse(entry["StorageDescriptor"]["Location"]).path)
connection = duckdb.connect()
connection.execute("SET TimeZone='UTC'")
rows = connection.execute(
    """
    SELECT customer_id, order_no, status, total::varchar, epoch(placed_at)::bigint, gift, lines, labels,
           hex(signature), _op
    FROM read_parquet(? || '*.parquet', hive_partitioning = false)
    ORDER BY order_no
    """,
    [folder],
).fetchall()
for customer, order, status, total, placed, gift, lines, labels, signature, op in rows:
    assert op in ("insert", "modify"), op
    print(
        json.dumps(
            {
                "customer_id": customer,
                "order_no": order,
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
