"""Put clickstream events to a Kinesis endpoint, as a producer of others does it (botocore).

    put_events.py ENDPOINT STREAM FROM COUNT [--per N] [--bytes N] [--kind K,…] [--acked FILE]

Events are numbered from FROM on. --per N puts N events into each record, by aws-kinesis-agg; --bytes
pads each event; --kind gives the event types in turn; --acked gets the event ids that were
acknowledged, one a line, and a request that fails is not tried again, since it may have been taken.
"""
import argparse
import json
import time

import botocore.session
from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.config import Config

REQUEST_RECORDS, REQUEST_BYTES = 100, 4_500_000


def event(number, kind, padding):
    document = {
        "event_id": f"e-{number}",
        "event_type": kind,
        "event_time": "2026-01-02T03:04:05Z",
        "user_id": number,
    }
    if padding:
        document["referrer"] = "x" * max(0, padding - len(json.dumps(document)) - 16)
    return json.dumps(document).encode()


def records(options):
    """(event ids, partition key, data) of each record."""
    kinds = options.kind.split(",")
    numbers = range(options.start, options.start + options.count)
    for first in numbers[:: options.per]:
        group = numbers[first - options.start : first - options.start + options.per]
        ids = [f"e-{n}" for n in group]
        events = [event(n, kinds[n % len(kinds)], options.bytes) for n in group]
        if options.per == 1:
            yield ids, f"k{first % 97}", events[0]
            continue
        aggregator = RecordAggregator()
        for n, data in zip(group, events):
            assert aggregator.add_user_record(f"k{n % 97}", data) is None, "one aggregate a group"
        key, _, data = aggregator.clear_and_get().get_contents()
        yield ids, key, data


def requests(options):
    batch, size = [], 0
    for record in records(options):
        if batch and (len(batch) == REQUEST_RECORDS or size + len(record[2]) > REQUEST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record[2])
    if batch:
        yield batch


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("stream")
    parser.add_argument("start", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--per", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=0)
    parser.add_argument("--kind", default="click")
    parser.add_argument("--acked")
    options = parser.parse_args()
    client = botocore.session.get_session().create_client(
        "kinesis",
        endpoint_url=options.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, read_timeout=30, connect_timeout=5),
    )
    for batch in requests(options):
        entries = [{"PartitionKey": key, "Data": data} for _, key, data in batch]
        try:
            answer = client.put_records(StreamName=options.stream, Records=entries)
        except Exception:
            if not options.acked:
                raise
            time.sleep(0.05)
            continue
        taken = [ids for (ids, _, _), entry in zip(batch, answer["Records"]) if "ErrorCode" not in entry]
        assert options.acked or len(taken) == len(batch), answer
        if options.acked:
            with open(options.acked, "a", encoding="utf-8") as acked:
                acked.writelines(f"{name}\n" for ids in taken for name in ids)
            time.sleep(0.02)


main()
