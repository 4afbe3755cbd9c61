"""Put clickstream events to a Kinesis endpoint until asked to stop, as a producer that must not lose any.

    keep_putting.py ENDPOINT STREAM NAME ACKED

NAME begins the ids of this producer's events. A record that was refused and a request without an
answer are tried again, for as long as it takes; what such a request held may have been taken all the
same, so each try has ids of its own: NAME-<event>.<try>. ACKED gets a line for each event that was
acknowledged: id, shard, sequence number, sub-sequence number, `row` or `letter`. Every 25th event is
one that the table refuses, every fourth record an aggregate of ten events (aws-kinesis-agg). SIGTERM
ends it once everything it has begun to put is acknowledged.
"""
import json
import signal
import sys
import time

import botocore.session
from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.config import Config

RECORDS = 60
AGGREGATED = 10
PAUSE_S = 0.15
# Events fall into this many hours, each a partition.
HOURS = 2


def event(number, attempt, name):
    """(id, whether the table takes it, document)."""
    document = {
        "event_id": f"{name}-{number}.{attempt}",
        "event_type": "click",
        "event_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600 * (number % HOURS))),
        "user_id": number,
        "page_url": f"/p/{number % 997}",
    }
    fits = number % 25 != 0
    if not fits:
        document["event_type"] = "unheard of"
    return document["event_id"], fits, json.dumps(document).encode()


def record(numbers, attempt, name):
    """(events, partition key, data); several events are an aggregate."""
    events = [event(number, attempt, name) for number in numbers]
    # A key of its own for each record spreads them over all shards, however many there are.
    key = f"{name}-{numbers[0]}"
    if len(events) == 1:
        return events, key, events[0][2]
    aggregator = RecordAggregator()
    for _, _, data in events:
        assert aggregator.add_user_record(key, data) is None, "one aggregate a record"
    _, _, data = aggregator.clear_and_get().get_contents()
    return events, key, data


def main():
    endpoint, stream, name, acked_path = sys.argv[1:]
    client = botocore.session.get_session().create_client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, read_timeout=20, connect_timeout=2),
    )
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    waiting, next_number, unanswered, refused = [], 0, 0, 0
    with open(acked_path, "a", encoding="utf-8", buffering=1) as acked:
        while waiting or not stopping:
            while len(waiting) < RECORDS and not stopping:
                count = AGGREGATED if next_number % 4 == 3 else 1
                waiting.append((list(range(next_number, next_number + count)), 1))
                next_number += count
            batch, waiting = waiting[:RECORDS], waiting[RECORDS:]
            records = [record(numbers, attempt, name) for numbers, attempt in batch]
            again = [(numbers, attempt + 1) for numbers, attempt in batch]
            try:
                answer = client.put_records(
                    StreamName=stream, Records=[{"PartitionKey": key, "Data": data} for _, key, data in records]
                )
            except Exception:  # nobody there, no answer, an error: taken or not, it is put again
                unanswered += 1
                waiting = again + waiting
                time.sleep(0.2)
                continue
            lines = []
            for (events, _, _), entry, retry in zip(records, answer["Records"], again):
                if "ErrorCode" in entry:
                    refused += 1
                    waiting.append(retry)
                    continue
                for sub, (event_id, fits, _) in enumerate(events):
                    what = "row" if fits else "letter"
                    lines.append(f"{event_id} {entry['ShardId']} {entry['SequenceNumber']} {sub} {what}\n")
            acked.write("".join(lines))
            time.sleep(PAUSE_S)
    print(f"{next_number} events; {unanswered} requests without an answer, {refused} records refused")


main()
