"""Copies objects from S3 with PyArrow's own client.

    fetch.py ENDPOINT KEY SECRET FOLDER < ADDRESSES

ADDRESSES are s3://bucket/key, one a line. Prints the path of each copy in FOLDER.
"""
import pathlib
import sys

from pyarrow import fs

endpoint, key, secret, folder = sys.argv[1:]
s3 = fs.S3FileSystem(
    access_key=key,
    secret_key=secret,
    endpoint_override=endpoint.removeprefix("http://"),
    scheme="http",
    region="us-east-1",
)
for number, address in enumerate(line.strip() for line in sys.stdin if line.strip()):
    path = pathlib.Path(folder) / f"{number:05}.parquet"
    with s3.open_input_file(address.removeprefix("s3://")) as file:
        path.write_bytes(file.read())
    print(path)
