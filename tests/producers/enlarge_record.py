"""Make a record of a stopped endpoint's journal larger than the endpoint takes (and AWS may).

    enlarge_record.py JOURNAL INDEX BYTES

INDEX counts the records of the last line. A line is the CRC-32 of its JSON in hex, a space, the JSON.
"""
import base64
import json
import pathlib
import sys
import zlib

journal, index, size = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
*before, last = journal.read_bytes().splitlines()
entry = json.loads(last[9:])
entry["put"][1][index][2] = base64.b64encode(b"x" * size).decode()
text = json.dumps(entry).encode()
line = b"%08x " % zlib.crc32(text) + text
journal.write_bytes(b"".join(piece + b"\n" for piece in [*before, line]))
