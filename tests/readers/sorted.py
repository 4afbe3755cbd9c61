"""Says whether the rows of Parquet files, one file after another, are in order, as PyArrow reads them.

    sorted.py COLUMN[,COLUMN…] FILES

FILES is a file that holds a JSON list of paths. Ascending, nulls last. Prints one JSON object:
{"rows": 3, "breaks": 0, "distinct": {"COLUMN": 2, …}}.
"""
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def main(columns, files):
    columns = columns.split(",")
    with open(files, encoding="utf-8") as names:
        table = pa.concat_tables(pq.read_table(name, columns=columns, partitioning=None) for name in json.load(names))
    keys = list(zip(*([(value is None, value) for value in table[name].to_pylist()] for name in columns)))

    def after(a, b):
        for (a_null, a_value), (b_null, b_value) in zip(a, b):
            if a_null != b_null:
                return a_null
            if not a_null and a_value != b_value:
                return a_value > b_value
        return False

    breaks = sum(after(a, b) for a, b in zip(keys, keys[1:]))
    distinct = {name: len(set(table[name].to_pylist())) for name in columns}
    print(json.dumps({"rows": table.num_rows, "breaks": breaks, "distinct": distinct}))


if __name__ == "__main__":
    main(*sys.argv[1:])
