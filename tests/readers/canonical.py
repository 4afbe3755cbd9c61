"""Turns a column of any reader into canonical bytes a row, so that readers can be compared.

The bytes say what the value is, not how a library types it: an integer is its digits whatever its
width, a time its microseconds since the epoch in UTC, a decimal its digits without trailing zeros,
text and binary their bytes, a map its entries in the order of their keys. Two forms are made of
every row: `exact`, and `loose`, where an absent list or map is an empty one and an absent struct a
struct of nulls, since ClickHouse has no nulls at those places.
"""
import decimal
import hashlib
import struct

import pyarrow as pa

NULL = b"n"
DECIMAL = decimal.Context(prec=60)
ORDINARY_TIMES = ("s", "ms", "us", "ns")


def _text(tag, value):
    return b"%s%d:%s" % (tag, len(value), value)


def _scalar(kind):
    """The function that renders one non-null Python value of an Arrow type."""
    if pa.types.is_boolean(kind):
        return lambda v: b"b1" if v else b"b0"
    if pa.types.is_integer(kind):
        return lambda v: b"i%d" % v
    if pa.types.is_floating(kind):
        return lambda v: b"f" + (b"nan" if v != v else struct.pack(">d", v).hex().encode())
    if pa.types.is_decimal(kind):
        return lambda v: b"d" + format(v.normalize(DECIMAL) + 0, "f").encode()
    if pa.types.is_date(kind):
        return lambda v: b"D" + v.isoformat().encode()
    if _is_binary(kind):
        return lambda v: _text(b"s", v if isinstance(v, bytes) else v.encode("utf-8", "surrogatepass"))
    raise SystemExit(f"read_lake: no canonical form of {kind}; add one to canonical.py")


def _is_binary(kind):
    tests = ("string", "large_string", "binary", "large_binary", "fixed_size_binary")
    return any(getattr(pa.types, "is_" + t)(kind) for t in tests) or str(kind) in ("string_view", "binary_view")


def _is_list(kind):
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or str(kind).startswith(("list_view", "large_list_view"))


def micros(array):
    """A timestamp array as integers: microseconds since the epoch, in UTC."""
    unit, zone = array.type.unit, array.type.tz
    if zone not in (None, "UTC", "+00:00", "Etc/UTC"):
        raise SystemExit(f"read_lake: a time in zone {zone}: the session is not in UTC")
    whole = array.cast(pa.timestamp("us", zone)) if unit in ORDINARY_TIMES else array
    return whole.cast(pa.int64())


def render(array):
    """`(exact, loose)`: lists of canonical bytes, one a row."""
    if isinstance(array, pa.ChunkedArray):
        parts = [render(chunk) for chunk in array.chunks]
        return [b for p in parts for b in p[0]], [b for p in parts for b in p[1]]
    if isinstance(array, pa.ExtensionArray):
        return render(array.storage)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return render(array.dictionary_decode())
    if pa.types.is_null(kind):
        return [NULL] * len(array), [NULL] * len(array)
    if pa.types.is_timestamp(kind):
        values = [NULL if v is None else b"t%d" % v for v in micros(array).to_pylist()]
        return values, values
    if pa.types.is_struct(kind):
        return _render_struct(array)
    if pa.types.is_map(kind):
        return _render_repeated(array, [array.keys, array.items], b"m", sorted)
    if _is_list(kind):
        return _render_repeated(array, [array.values], b"l", list)
    form = _scalar(kind)
    values = [NULL if v is None else form(v) for v in array.to_pylist()]
    return values, values


def _render_struct(array):
    fields = [render(array.field(i)) for i in range(array.type.num_fields)]
    valid = array.is_valid().to_pylist()
    exact = [b"{" + b",".join(row) + b"}" for row in zip(*(f[0] for f in fields))]
    absent = _absent(array.type)
    loose = [
        b"{" + b",".join(row) + b"}" if there else absent
        for there, row in zip(valid, zip(*(f[1] for f in fields)))
    ]
    return [row if there else NULL for there, row in zip(valid, exact)], loose


def _absent(kind):
    """The loose form of an absent value."""
    if pa.types.is_struct(kind):
        return b"{" + b",".join(_absent(kind.field(i).type) for i in range(kind.num_fields)) + b"}"
    if pa.types.is_map(kind):
        return b"m[]"
    return b"l[]" if _is_list(kind) else NULL


def _render_repeated(array, children, tag, order):
    """A list (one child) or a map (keys and items); views keep sizes beside offsets."""
    rendered = [render(child) for child in children]
    offsets = array.offsets.to_pylist()
    sizes = array.sizes.to_pylist() if "view" in str(array.type).split("<")[0] else None
    valid = array.is_valid().to_pylist()
    exact, loose = [], []
    for i, there in enumerate(valid):
        start = offsets[i]
        end = start + sizes[i] if sizes else offsets[i + 1]
        if not there:
            exact.append(NULL)
            loose.append(tag + b"[]")
            continue
        for form, out in ((0, exact), (1, loose)):
            entries = zip(*(r[form][start:end] for r in rendered))
            out.append(tag + b"[" + b",".join(order(b"=".join(e) for e in entries)) + b"]")
    return exact, loose


def digest(row):
    """64 bits of a row's bytes; their sum modulo 2^64 does not depend on the order of rows."""
    return int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "big")
