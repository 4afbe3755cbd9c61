"""Counts a lake on S3 against what producers were told is taken, without any of Weir's code or lists.

    exactly_once.py ENDPOINT KEY SECRET BUCKET/PREFIX TABLE ACKED…

Every Parquet file that lies under the table's and the quarantine's folders is read by PyArrow, ACKED
(see `producers/keep_putting.py`) by DuckDB, which joins the two. An acknowledged event must be exactly
one row, or exactly one dead letter, at the position that the stream gave it. An event whose request had
no answer may be there once, never twice. Prints the counts as JSON; exits with 1 and the
first few of each kind that differ.
"""
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

POSITION = ["shard", "sequence", "sub"]


def read(s3, folder, columns):
    """The columns of all files below a folder, under the names id, shard, sequence, sub."""
    found = s3.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    files = [info.path for info in found if info.path.endswith(".parquet")]
    if not files:
        return pa.table({name: pa.array([], pa.string()) for name in ["id", *POSITION]}), 0
    table = ds.dataset(files, filesystem=s3, format="parquet").to_table(columns=columns)
    return table.rename_columns(["id", *POSITION]), len(files)


endpoint, key, secret, prefix, name, *acked_files = sys.argv[1:]
s3 = fs.S3FileSystem(
    access_key=key,
    secret_key=secret,
    endpoint_override=endpoint.removeprefix("http://"),
    scheme="http",
    region="us-east-1",
)
row_table, row_files = read(s3, f"{prefix}/{name}", ["event_id", "_shard", "_sequence", "_subsequence"])
letter_table, letter_files = read(s3, f"{prefix}/quarantine", ["raw", "shard", "sequence", "subsequence"])

db = duckdb.connect()
db.register("row_table", row_table)
db.register("letter_table", letter_table)
columns = "{'id':'varchar','shard':'varchar','sequence':'varchar','sub':'integer','what':'varchar'}"
db.execute(
    f"create table acked as from read_csv(?, delim=' ', header=false, columns={columns})", [acked_files]
)
db.execute(
    """create table found as
       select id, shard, sequence::varchar as sequence, sub::integer as sub, 'row' as what from row_table
       union all
       select json_extract_string(decode(id), '$.event_id'), shard, sequence::varchar, sub::integer, 'letter'
       from letter_table"""
)


def number(sql):
    return db.execute(sql).fetchone()[0]


wrong = {
    "acknowledged twice": "select id from acked group by id having count(*) > 1",
    "acknowledged and not there as such": "from acked except all from found",
    "there twice": "select id, count(*) from found group by id having count(*) > 1",
    "one position twice": "select shard, sequence, sub from found group by all having count(*) > 1",
}
counts = {
    "acknowledged": number("select count(*) from acked"),
    "acknowledged_rows": number("select count(*) from acked where what = 'row'"),
    "rows": row_table.num_rows,
    "letters": letter_table.num_rows,
    "found_and_acknowledged": number("select count(*) from found semi join acked using (id, shard, sequence, sub, what)"),
    "found_without_answer": number("select count(*) from found anti join acked using (id)"),
    "row_files": row_files,
    "letter_files": letter_files,
    "shards": number("select count(distinct shard) from found"),
}
print(json.dumps(counts))
failed = False
for problem, sql in wrong.items():
    some = db.execute(f"from ({sql}) limit 5").fetchall()
    if some:
        failed = True
        total = number(f"select count(*) from ({sql})")
        print(f"{problem}: {total}, for example {some}", file=sys.stderr)
sys.exit(1 if failed else 0)
