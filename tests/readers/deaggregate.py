"""Read a Kinesis stream from its beginning and take its aggregates apart with aws-kinesis-agg.

    deaggregate.py ENDPOINT STREAM

Prints {"records": stream records, "aggregates": those that were aggregates, "ids": event ids in order}.
"""
import base64
import json
import sys

import botocore.session
from aws_kinesis_agg.deaggregator import deaggregate_records

endpoint, stream = sys.argv[1:]
kinesis = botocore.session.get_session().create_client(
    "kinesis",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
)
records, aggregates, ids = 0, 0, []
for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    while True:
        answer = kinesis.get_records(ShardIterator=iterator, Limit=1000)
        iterator = answer["NextShardIterator"]
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            break
        for record in answer["Records"]:
            records += 1
            aggregates += record["Data"].startswith(b"\xf3\x89\x9a\xc2")
            envelope = {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record["PartitionKey"],
                    "sequenceNumber": record["SequenceNumber"],
                    "data": base64.b64encode(record["Data"]).decode(),
                    "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
                }
            }
            for user_record in deaggregate_records([envelope]):
                ids.append(json.loads(base64.b64decode(user_record["kinesis"]["data"]))["event_id"])
print(json.dumps({"records": records, "aggregates": aggregates, "ids": ids}))
