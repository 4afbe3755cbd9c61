"""Writes two Parquet files, with PyArrow, that hold every kind of column a Weir table can have:

    make_sample.py FOLDER [ROWS] [--one-value-changed]

They check the readers themselves: all must say the same of them, and something else once one
nested value is changed.
"""
import datetime
import decimal
import pathlib
import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq

UTC = datetime.timezone.utc
ITEM = pa.struct([("sku", pa.string()), ("qty", pa.int32()), ("price", pa.decimal128(10, 2))])
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("small", pa.int32()),
        ("ratio", pa.float64()),
        ("flag", pa.bool_()),
        ("name", pa.string()),
        ("raw", pa.binary()),
        ("price", pa.decimal128(10, 2)),
        ("amount", pa.decimal128(18, 6)),
        ("wide", pa.decimal128(38, 10)),
        ("at", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("device", pa.struct([("os", pa.string()), ("screen", pa.struct([("width", pa.int32())]))])),
        ("items", pa.list_(ITEM)),
        ("tags", pa.list_(pa.list_(pa.string()))),
        ("properties", pa.map_(pa.string(), pa.string())),
    ]
)


def row(r, i):
    """One row; about one value in eight is absent at every level."""

    def maybe(make):
        return None if r.random() < 0.125 else make()

    def money(digits, scale):
        return decimal.Decimal(r.randrange(-(10**digits), 10**digits)).scaleb(-scale)

    def item():
        return {"sku": maybe(lambda: f"SKU-{r.randrange(99)}"), "qty": r.randrange(9), "price": maybe(lambda: money(9, 2))}

    texts = ["", "plain", "café", "\U0001f30a wave", 'quote " and \\', "line\nbreak"]
    return {
        "id": i,
        "small": maybe(lambda: r.randrange(-(2**31), 2**31)),
        "ratio": maybe(lambda: r.choice([0.1, -0.0, 1e300, 5e-324, r.gauss(0, 1)])),
        "flag": maybe(lambda: r.random() < 0.5),
        "name": maybe(lambda: r.choice(texts)),
        "raw": maybe(lambda: r.randbytes(r.randrange(6))),
        "price": maybe(lambda: money(9, 2)),
        "amount": maybe(lambda: money(17, 6)),
        "wide": maybe(lambda: money(37, 10)),
        "at": maybe(lambda: datetime.datetime(2026, 11, 20, tzinfo=UTC) + datetime.timedelta(microseconds=r.randrange(10**12))),
        "day": maybe(lambda: datetime.date(1969, 12, 30) + datetime.timedelta(days=r.randrange(30000))),
        "device": maybe(lambda: {"os": maybe(lambda: "linux"), "screen": maybe(lambda: {"width": maybe(lambda: 390)})}),
        "items": maybe(lambda: [item() for _ in range(r.randrange(4))]),
        "tags": maybe(lambda: [[r.choice(texts) for _ in range(r.randrange(3))] for _ in range(r.randrange(3))]),
        "properties": maybe(lambda: [(f"k{k}", maybe(lambda: r.choice(texts))) for k in range(r.randrange(3))]),
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2].isdigit() else 3000
    r = random.Random(11)
    rows = [row(r, i) for i in range(count)]
    if "--one-value-changed" in sys.argv:
        next(x for x in rows if x["items"])["items"][0]["qty"] += 1
    half = count // 2
    for name, part in (("a", rows[:half]), ("b", rows[half:])):
        table = pa.Table.from_pylist(part, schema=SCHEMA)
        pq.write_table(table, folder / f"{name}.parquet", version="1.0", compression="zstd", row_group_size=700)


if __name__ == "__main__":
    main()
