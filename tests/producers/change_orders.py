"""Changes of items in a DynamoDB table, made with boto3, and what a table of them has to hold.

change_orders.py ENDPOINT table               makes the table `orders` with a stream, prints its ARN
change_orders.py ENDPOINT function ARN ZIP ENV   maps the stream to a function made of ZIP; ENV is JSON;
                                                 with - for the stream, only makes the function
change_orders.py ENDPOINT change FROM TO      changes the orders FROM..TO, prints the expected rows
change_orders.py ENDPOINT given-up ARN        prints what a mapping of the stream that gave up on all its
                                              records would tell a queue, a line a shard
change_orders.py ENDPOINT scan                prints the orders that are there, as `read_current.py` does
"""

import io
import json
import sys
import zipfile
from decimal import Decimal

import boto3
from boto3.dynamodb.types import Binary

STATUSES = ["placed", "paid", "shipped"]


def client(service, endpoint):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.Session(**keys, region_name="us-east-1"), {"endpoint_url": endpoint}


def make_table(endpoint):
    session, at = client("dynamodb", endpoint)
    made = session.client("dynamodb", **at).create_table(
        TableName="orders",
        KeySchema=[
            {"AttributeName": "customer_id", "KeyType": "HASH"},
            {"AttributeName": "order_no", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "customer_id", "AttributeType": "S"},
            {"AttributeName": "order_no", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    print(made["TableDescription"]["LatestStreamArn"])


def map_function(endpoint, stream, binary, environment):
    session, at = client("lambda", endpoint)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        member = zipfile.ZipInfo("bootstrap")
        member.external_attr = 0o755 << 16
        with open(binary, "rb") as file:
            archive.writestr(member, file.read())
    functions = session.client("lambda", **at)
    functions.create_function(
        FunctionName="ingest",
        Runtime="provided.al2023",
        Role="arn:aws:iam::000000000000:role/ingest",
        Handler="bootstrap",
        Code={"ZipFile": packed.getvalue()},
        Timeout=60,
        MemorySize=512,
        Environment={"Variables": json.loads(environment)},
    )
    if stream == "-":
        return
    functions.create_event_source_mapping(
        FunctionName="ingest",
        EventSourceArn=stream,
        BatchSize=100,
        StartingPosition="TRIM_HORIZON",
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )


def item(n):
    return {
        "customer_id": f"c-{n % 7}",
        "order_no": n,
        "status": "placed",
        "total": Decimal(f"{10**35 + n}.25"),
        "placed_at": 1_795_150_800 + n,
        "gift": n % 2 == 0,
        "lines": [{"sku": f"S-{n}", "qty": n + 1, "price": Decimal("12.95")}, {"sku": "", "qty": 0, "price": Decimal(0)}],
        "labels": {"new", f"caf\u00e9 {n}"},
        "signature": Binary(bytes([n % 256, 0, 255])),
        "not_in_the_table": {"deep": [None, {"set": {1, 2}}]},
    }


def row(op, n, image, old):
    """The row as the reader prints it: numbers as text, bytes in hex, sets sorted."""
    expected = {"op": op, "customer_id": f"c-{n % 7}", "order_no": n, "old_status": old and old["status"]}
    for name in ["status", "total", "placed_at", "gift", "lines", "labels", "signature"]:
        expected[name] = None
    if image:
        expected |= {
            "status": image["status"],
            "total": str(image["total"]),
            "placed_at": image["placed_at"],
            "gift": image["gift"],
            "lines": [[line["sku"], line["qty"], f"{line['price']:.2f}"] for line in image["lines"]],
            "labels": sorted(image["labels"]),
            "signature": bytes(image["signature"].value).hex(),
        }
    return expected


def given_up(endpoint, stream):
    session, at = client("dynamodbstreams", endpoint)
    streams = session.client("dynamodbstreams", **at)
    for shard in streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        numbers = []
        while iterator:
            got = streams.get_records(ShardIterator=iterator, Limit=1000)
            numbers += [record["dynamodb"]["SequenceNumber"] for record in got["Records"]]
            iterator = got["Records"] and got.get("NextShardIterator")
        info = {
            "shardId": shard["ShardId"],
            "startSequenceNumber": numbers[0],
            "endSequenceNumber": numbers[-1],
            "approximateArrivalOfFirstRecord": "2026-11-14T00:13:19Z",
            "approximateArrivalOfLastRecord": "2026-11-14T00:13:19Z",
            "batchSize": len(numbers),
            "streamArn": stream,
        }
        condition = {"condition": "RetryAttemptsExhausted", "approximateInvokeCount": 2}
        print(
            json.dumps(
                {
                    "requestContext": condition,
                    "version": "1.0",
                    "timestamp": "2026-11-14T00:13:49.717Z",
                    "DDBStreamBatchInfo": info,
                }
            )
        )


def scan(endpoint):
    session, at = client("dynamodb", endpoint)
    table = session.resource("dynamodb", **at).Table("orders")
    found, page = [], {}
    while True:
        answer = table.scan(**page)
        found += answer["Items"]
        if "LastEvaluatedKey" not in answer:
            break
        page = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    for image in sorted(found, key=lambda image: image["order_no"]):
        expected = row("insert", int(image["order_no"]), image, None)
        del expected["op"], expected["old_status"]
        expected["placed_at"] = int(expected["placed_at"])
        expected["lines"] = [[sku, int(qty), price] for sku, qty, price in expected["lines"]]
        print(json.dumps(expected))


def change(endpoint, first, last):
    session, at = client("dynamodb", endpoint)
    table = session.resource("dynamodb", **at).Table("orders")
    for n in range(first, last):
        before = item(n)
        table.put_item(Item=before)
        print(json.dumps(row("insert", n, before, None)))
        key = {"customer_id": before["customer_id"], "order_no": n}
        if n % 3 > 0:
            table.update_item(
                Key=key,
                UpdateExpression="SET #s = :s",
                ExpressionAttributeNames={"#s": "status"},
                ExpressionAttributeValues={":s": STATUSES[n % 3]},
            )
            after = before | {"status": STATUSES[n % 3]}
            print(json.dumps(row("modify", n, after, before)))
            before = after
        if n % 5 == 0:
            table.delete_item(Key=key)
            print(json.dumps(row("remove", n, None, before)))


if __name__ == "__main__":
    endpoint, what, *rest = sys.argv[1:]
    if what == "table":
        make_table(endpoint)
    elif what == "function":
        map_function(endpoint, *rest)
    elif what == "given-up":
        given_up(endpoint, *rest)
    elif what == "scan":
        scan(endpoint)
    else:
        change(endpoint, int(rest[0]), int(rest[1]))
