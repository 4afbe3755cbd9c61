"""make_events.py TABLE SEED COUNT: NDJSON of a table for aggregation jobs, the same for the same seed.

Full of what engines differ in: nulls in every column that may be null, empty and absent arrays,
elements without fields, texts outside ASCII, rows that come late, in several partitions.
"""

import json
import random
import sys
from datetime import datetime, timedelta, timezone

START = datetime(2025, 11, 20, 4, 0, tzinfo=timezone.utc)
PAGES = ["/", "/cart", "/p/shoes", "/p/bücher?ref=mail", "/p/靴#top", "/search?q=a?b", "", "/p/Straße"]


def maybe(chance, value):
    return value if random.random() < chance else None


def item():
    line = {"sku": maybe(0.97, f"SKU-{random.randrange(40):03}")}
    line["qty"] = maybe(0.9, random.randrange(1, 2_000_000_000 if random.random() < 0.001 else 5))
    cents = random.choice([0, 5, 50, 99, random.randrange(100)])
    line["price"] = maybe(0.9, float(f"{random.choice([0, 1, 19, 4711, 99_999_999])}.{cents:02}"))
    return line


def clickstream(n):
    user = maybe(0.8, random.randrange(60))
    minute = n % 60 if random.random() < 0.9 else random.randrange(120)
    time = START + timedelta(minutes=minute, microseconds=random.randrange(60_000_000))
    row = {
        "event_id": f"{n:08}",
        "event_type": random.choice(["page_view"] * 5 + ["click", "add_to_cart", "purchase"]),
        "event_time": time.isoformat().replace("+00:00", "Z"),
        "user_id": user,
        "page_url": maybe(0.9, "https://shop.example.com" + random.choice(PAGES)),
        "ip": maybe(0.8, f"10.0.0.{random.randrange(20)}"),
        "user_agent": maybe(0.7, random.choice(["Mozilla/5.0", "curl", "Ünïcode"])),
        "device": maybe(0.9, {"os": maybe(0.8, "ios"), "width": maybe(0.5, 390)}),
        "country": maybe(0.8, random.choice(["DE", "US", "JP"])),
        "latency_ms": maybe(0.8, random.randrange(400_000) / 1000),
        "is_bot": maybe(0.7, random.random() < 0.1),
        "items": maybe(0.8, [maybe(0.97, item()) for _ in range(random.choice([0, 1, 1, 2, 5]))]),
    }
    return row


def access_log(n):
    time = START + timedelta(hours=n % 40, seconds=random.randrange(3600))
    return {
        "client_ip": f"10.1.{random.randrange(4)}.{random.randrange(50)}",
        "ident": "-",
        "auth": maybe(0.9, "-"),
        "timestamp": time.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "verb": random.choice(["GET", "GET", "GET", "POST", "HEAD"]),
        "request": maybe(0.98, random.choice(["/a", "/a?x=1", "/ä/b?y=2?z", "?", "", "/A"])),
        "httpversion": "1.1",
        "response": random.choice([200, 200, 200, 304, 404, 500]),
        "bytes": maybe(0.7, random.randrange(10**random.randrange(1, 15))),
        "referrer": maybe(0.5, "-"),
        "agent": maybe(0.5, "curl"),
    }


def sensor_readings(n):
    time = datetime(2025, 10, 31, 22, 0) + timedelta(seconds=17 * (n % 900) + random.randrange(17))
    return {
        "group": maybe(0.9, random.choice(["plant", "büro"])),
        "series": random.choice(["t1", "t2", "T1", "ω"]),
        "timestamp": time.strftime("%Y-%m-%d %H:%M:%S"),
        "value": random.choice([0.0, -1.5, 1e-300, 1e15, random.gauss(20, 5)]),
    }


if __name__ == "__main__":
    table, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    random.seed(f"{table} {seed}")
    make = {"clickstream": clickstream, "access_log": access_log, "sensor_readings": sensor_readings}[table]
    for n in range(count):
        row = {key: value for key, value in make(n + 1_000_000 * seed).items() if value is not None or n % 2}
        print(json.dumps(row, ensure_ascii=False))
