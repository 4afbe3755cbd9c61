"""compare.py: lines of stdin are {"name", "ours", "theirs", "keys"} with two directories of Parquet
files; every row and value of both is compared. Prints one JSON object; fails with the differences.

Doubles may differ in the last digits, since sums of doubles depend on the order of addition: by 1e-12
of the value. All else is equal or different, types and nulls included."""

import json
import sys

import pyarrow.parquet as pq


def rows(directory):
    table = pq.read_table(directory, partitioning=None)
    return table.schema.remove_metadata(), table.to_pylist()


def equal(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) <= 1e-12 * max(abs(a), abs(b))
    return type(a) is type(b) and a == b


def compare(name, ours, theirs, keys):
    (our_schema, our_rows), (their_schema, their_rows) = rows(ours), rows(theirs)
    wrong = []
    for a, b in zip(our_schema, their_schema, strict=True):
        if (a.name, a.type) != (b.name, b.type):
            wrong.append(f"{name}: column {a} here, {b} on Spark")
    if len(our_rows) != len(their_rows):
        wrong.append(f"{name}: {len(our_rows)} rows here, {len(their_rows)} on Spark")

    def by_key(table):
        return {tuple(repr(row[key]) for key in keys): row for row in table}

    a, b = by_key(our_rows), by_key(their_rows)
    assert len(a) == len(our_rows) and len(b) == len(their_rows), f"{name}: keys are not unique"
    for key in sorted(a.keys() ^ b.keys()):
        wrong.append(f"{name}: row {key} only {'here' if key in a else 'on Spark'}")
    for key in a.keys() & b.keys():
        for column, value in a[key].items():
            if not equal(value, b[key].get(column)):
                wrong.append(f"{name}: row {key}: {column} is {value!r} here, {b[key].get(column)!r} on Spark")
    # Both are sorted by the keys; equal rows in another order would be a difference too.
    if not wrong and [[r[k] for k in keys] for r in our_rows] != [
        [r[k] for k in keys] for r in their_rows
    ]:
        wrong.append(f"{name}: the rows have another order on Spark")
    nulls = sum(value is None for row in our_rows for value in row.values())
    return wrong, len(our_rows), sum(len(row) for row in our_rows), nulls


def main():
    wrong, total = [], {"results": 0, "rows": 0, "values": 0, "nulls": 0}
    for line in sys.stdin:
        found, count, values, nulls = compare(**json.loads(line))
        wrong += found
        total["results"] += 1
        total["rows"] += count
        total["values"] += values
        total["nulls"] += nulls
    print(json.dumps({**total, "differences": len(wrong), "first": wrong[:20]}))


if __name__ == "__main__":
    main()
