"""Change the shards of a stream, and try again until it is done.

    reshard.py ENDPOINT STREAM split|merge|scale COUNT

COUNT is how many open shards there must be afterwards. split halves the widest shard, merge joins the
two narrowest neighbours, scale asks for COUNT shards (UpdateShardCount).
"""
import sys
import time

import botocore.session
from botocore.config import Config

PATIENCE_S = 120


def open_shards(client, stream):
    shards = client.list_shards(StreamName=stream)["Shards"]
    shards = [s for s in shards if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
    ranges = [(int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"])) for s in shards]
    return sorted((start, end, s["ShardId"]) for (start, end), s in zip(ranges, shards))


def change(client, stream, what, count, shards):
    if what == "scale":
        client.update_shard_count(StreamName=stream, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
    elif what == "split":
        start, end, shard = max(shards, key=lambda s: s[1] - s[0])
        middle = str((start + end) // 2)
        client.split_shard(StreamName=stream, ShardToSplit=shard, NewStartingHashKey=middle)
    else:
        first, second = min(zip(shards, shards[1:]), key=lambda pair: pair[1][1] - pair[0][0])
        client.merge_shards(StreamName=stream, ShardToMerge=first[2], AdjacentShardToMerge=second[2])


def main():
    endpoint, stream, what, count = sys.argv[1:]
    client = botocore.session.get_session().create_client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, read_timeout=20, connect_timeout=2),
    )
    begun, problem = time.monotonic(), ""
    while time.monotonic() - begun < PATIENCE_S:
        try:
            # A change whose answer was lost is not asked for twice.
            shards = open_shards(client, stream)
            if len(shards) == int(count):
                print(f"{what}: {len(shards)} open shards")
                return
            change(client, stream, what, int(count), shards)
        except Exception as error:
            problem = str(error)
        time.sleep(0.2)
    sys.exit(f"{what} to {count} shards was not done within {PATIENCE_S} s: {problem}")


main()
