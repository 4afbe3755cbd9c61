"""Reads Parquet files with an engine that others wrote and says what is in them.

    read_lake.py ENGINE[,ENGINE…] FILES

ENGINE is pyarrow, duckdb, polars, datafusion or chdb. FILES is a file that holds a JSON list of
paths, or one path a line. Prints one JSON object:

    {"rows": 3, "hash": "…", "loose_hash": "…", "columns": {"price": {"nulls": 1, "sum": "12.5"},
     "at": {"nulls": 0, "min": 1763596800000000, "max": …, "sum": …}, …}}

`hash` is the sum modulo 2^64 over all rows of a hash of the row's canonical bytes (canonical.py),
so neither the order of rows nor that of columns nor a library's types matter. With several engines
the answer is printed once if all agree; else what each says goes to stderr and the exit code is 1.
"""
import decimal
import json
import math
import sys
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.compute as pc

import canonical
from engines import ENGINES, LOOSE

MASK = (1 << 64) - 1


class Column:
    """What is said about one column."""

    def __init__(self):
        self.nulls = 0
        self.kind = None
        self.sum = decimal.Decimal(0)
        self.floats = []
        self.min = None
        self.max = None

    def add(self, array):
        """Take in one table's column."""
        kind = array.type
        self.nulls += array.null_count
        if pa.types.is_boolean(kind):
            self.kind = "bool"
            self.sum += pc.sum(array.cast(pa.int64())).as_py() or 0
        elif pa.types.is_integer(kind):
            self.kind = "number"
            self.sum += sum(v for v in array.to_pylist() if v is not None)
        elif pa.types.is_decimal(kind):
            self.kind = "number"
            context = decimal.Context(prec=60)
            for value in array.to_pylist():
                self.sum = self.sum if value is None else context.add(self.sum, value)
        elif pa.types.is_floating(kind):
            self.kind = "float"
            self.floats.extend(v for v in array.to_pylist() if v is not None)
        elif pa.types.is_timestamp(kind):
            self.kind = "time"
            self.bound([v for v in canonical.micros(array).to_pylist() if v is not None])
        elif pa.types.is_date(kind):
            self.kind = "date"
            self.bound([v.isoformat() for v in array.to_pylist() if v is not None])

    def bound(self, values):
        """Widen the bounds."""
        if values:
            self.min = min([*values, *([] if self.min is None else [self.min])])
            self.max = max([*values, *([] if self.max is None else [self.max])])

    def said(self, nested):
        """As JSON. The nulls of nested columns are left to the hash."""
        out = {} if nested else {"nulls": self.nulls}
        if self.kind == "float":
            # fsum is exact, so the order of rows does not matter.
            finite = math.fsum(v for v in self.floats if math.isfinite(v))
            return out | {"sum": repr(finite), "not_finite": sum(not math.isfinite(v) for v in self.floats)}
        if self.kind in ("number", "bool"):
            return out | {"sum": format(self.sum.normalize(decimal.Context(prec=60)) + 0, "f")}
        if self.kind in ("time", "date"):
            return out | {"min": self.min, "max": self.max}
        return out


def describe(tables):
    """What a reader's tables hold."""
    rows, exact_sum, loose_sum, columns, nested = 0, 0, 0, {}, set()
    for table in tables:
        rows += table.num_rows
        names = sorted(table.column_names)
        forms = []
        for name in names:
            array = table.column(name)
            columns.setdefault(name, Column()).add(array)
            if pa.types.is_nested(array.type):
                nested.add(name)
            forms.append(canonical.render(array))
        for form in (0, 1):
            total = sum(canonical.digest(b"\x1f".join(row)) for row in zip(*(f[form] for f in forms)))
            exact_sum, loose_sum = (exact_sum + total, loose_sum) if form == 0 else (exact_sum, loose_sum + total)
    return {
        "rows": rows,
        "hash": "%016x" % (exact_sum & MASK),
        "loose_hash": "%016x" % (loose_sum & MASK),
        "columns": {name: columns[name].said(name in nested) for name in sorted(columns)},
    }


def paths(list_file):
    """The files of a list: JSON, or one a line."""
    text = open(list_file, encoding="utf-8").read()
    names = json.loads(text) if text.lstrip().startswith("[") else text.split("\n")
    return [unquote(urlparse(n).path) if n.startswith("file://") else n for n in names if n.strip()]


def main():
    engines, list_file = sys.argv[1].split(","), sys.argv[2]
    files = paths(list_file)
    said = {engine: describe(ENGINES[engine](files) if files else []) for engine in engines}
    first = said[engines[0]]
    for engine in engines[1:]:
        loose = engine in LOOSE or engines[0] in LOOSE
        mine, other = (
            {k: v for k, v in answer.items() if not (loose and k == "hash")} for answer in (first, said[engine])
        )
        if mine != other:
            print(json.dumps({engines[0]: first, engine: said[engine]}, indent=1), file=sys.stderr)
            sys.exit(f"read_lake: {engine} reads otherwise than {engines[0]}")
    json.dump(first, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
