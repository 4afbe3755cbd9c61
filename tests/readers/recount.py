"""Counts what went in against what came out, without Weir.

    recount.py --rows FILES [--quarantine FILES] [--sum COLUMN[=NAME]]… INPUT…

INPUT is NDJSON, plain or gzip. FILES is a list as read_lake.py takes it: the table's files, the
quarantine's. Rows + dead letters must be the input's lines (empty lines are none), and where
nothing was quarantined each `--sum COLUMN` must be the sum over the input of the number at NAME
(the column's name unless given; a key with dots is one key) and hold as many values. Prints one
JSON object; the exit code is 1 where something does not add up.
"""
import argparse
import decimal
import gzip
import json
import math
import sys

import pyarrow.parquet as pq

from read_lake import paths


def lines(name):
    """The non-empty lines of an input."""
    with open(name, "rb") as head:
        packed = head.read(2) == b"\x1f\x8b"
    with gzip.open(name, "rb") if packed else open(name, "rb") as file:
        yield from (line for line in file if line.strip())


class Total:
    """An exact sum and a count of numbers."""

    def __init__(self):
        self.values = 0
        self.exact = decimal.Decimal(0)
        self.floats = []

    def add(self, value):
        if value is None:
            return
        self.values += 1
        if isinstance(value, float):
            self.floats.append(value)
        else:
            self.exact += value

    def said(self):
        return {"values": self.values, "sum": repr(math.fsum([float(self.exact), *self.floats]))}


def of_inputs(inputs, names):
    """Lines, and totals by name, of the inputs."""
    count, totals = 0, {name: Total() for name in names}
    for line in (line for name in inputs for line in lines(name)):
        count += 1
        if not names:
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        for name, total in totals.items():
            value = record.get(name)
            total.add(float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None)
    return count, totals


def of_files(files, columns):
    """Rows, and totals by column, of Parquet files."""
    count, totals = 0, {column: Total() for column in columns}
    for file in files:
        reader = pq.ParquetFile(file)
        count += reader.metadata.num_rows
        for batch in reader.iter_batches(columns=list(columns)) if columns else ():
            for column, total in totals.items():
                for value in batch.column(column).to_pylist():
                    total.add(None if value is None else float(value))
    return count, totals


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", required=True)
    parser.add_argument("--quarantine")
    parser.add_argument("--sum", action="append", default=[])
    parser.add_argument("inputs", nargs="+")
    asked = parser.parse_args()
    columns = dict((s.split("=", 1) if "=" in s else (s, s)) for s in asked.sum)

    lines_in, totals_in = of_inputs(asked.inputs, list(columns.values()))
    rows, totals_out = of_files(paths(asked.rows), columns)
    dead, _ = of_files(paths(asked.quarantine) if asked.quarantine else [], {})
    wrong = []
    if rows + dead != lines_in:
        wrong.append(f"{rows} rows + {dead} dead letters are not the {lines_in} lines of the input")
    sums = {}
    for column, name in columns.items():
        went_in, came_out = totals_in[name].said(), totals_out[column].said()
        sums[column] = {"input": went_in, "rows": came_out}
        if dead == 0 and went_in != came_out:
            wrong.append(f"column {column}: the input has {went_in}, the rows {came_out}")
    json.dump({"lines": lines_in, "rows": rows, "dead_letters": dead, "sums": sums, "wrong": wrong}, sys.stdout, indent=1)
    print()
    if wrong:
        sys.exit("recount: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
