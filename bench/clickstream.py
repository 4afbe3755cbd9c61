"""Writes deterministic synthetic clickstream as NDJSON, about 540 bytes a line.

    clickstream.py ROWS OUT [--seed 7] [--hours 12] [--shuffled]

Event times rise over HOURS up to noon of 20 November 2026, with two minutes of disorder; one hour
is one partition, so `--hours 500` makes 500 of them. `--shuffled` keeps the rows and loses the
order. Large outputs are written in parts of a million rows by two processes, each part with a
seed of its own.
"""
import argparse
import datetime
import json
import multiprocessing
import os
import random
import uuid

PART_ROWS = 1_000_000
NOON = datetime.datetime(2026, 11, 20, 12)
DISORDER_MS = 120_000

CATEGORIES = ("shoes", "bags", "books", "phones", "garden", "toys")
PAGES = [f"/p/{category}/{i}" for category in CATEGORIES for i in range(400)]
PAGES += ["/", "/cart", "/checkout", "/search", "/login"]
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_%d like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.0 Mobile/15E148 Safari/604.1"
)
AGENTS = [CHROME % version for version in range(100, 140)] + [SAFARI % version for version in range(8)]
EVENTS = ["page_view"] * 70 + ["click"] * 20 + ["add_to_cart"] * 7 + ["purchase"] * 3
COUNTRIES = ["US"] * 40 + ["DE", "FR", "IN", "BR", "JP", "GB", "CN", "NG", "AU", "CA", "ES", "IT"]
REFERRERS = [
    "https://www.google.com/",
    "https://news.ycombinator.com/item?id=4242",
    None,
    None,
    "https://t.co/xyz",
    'https://example.org/café?q="a"',
]
SYSTEMS = ["ios", "android", "windows", "macos", "linux"]
BROWSERS = ["chrome", "safari", "firefox", "edge"]


def event(r, i, rows, hours):
    """The i-th event. The order of draws is part of the format: it makes the bytes."""
    begun = NOON - datetime.timedelta(hours=hours)
    offset_ms = int(i * 86_400_000 / rows * 0.5 * (hours / 12)) + r.randrange(0, DISORDER_MS)
    kind = r.choice(EVENTS)
    user = int(r.paretovariate(0.7)) % 500_000
    at = begun + datetime.timedelta(milliseconds=offset_ms)
    made = {
        "event_id": str(uuid.UUID(int=r.getrandbits(128), version=4)),
        "event_type": kind,
        "event_time": at.isoformat(timespec="milliseconds") + "Z",
        "user_id": user,
        "session_id": "%016x" % (user * 2654435761 % 2**64),
        "page_url": "https://shop.example.com" + r.choice(PAGES),
        "referrer": r.choice(REFERRERS),
        "ip": ".".join(str(part) for part in (r.randrange(1, 224), *(r.randrange(256) for _ in range(3)))),
        "user_agent": r.choice(AGENTS),
        "device": {
            "os": r.choice(SYSTEMS),
            "browser": r.choice(BROWSERS),
            "width": r.choice([360, 390, 1280, 1440, 1920]),
            "height": r.choice([640, 844, 720, 900, 1080]),
        },
        "country": r.choice(COUNTRIES),
        "latency_ms": round(r.lognormvariate(4, 0.8), 3),
        "is_bot": r.random() < 0.02,
    }
    if kind in ("add_to_cart", "purchase"):
        made["items"] = [item(r) for _ in range(r.randrange(1, 4))]
    if r.random() < 0.3:
        made["properties"] = {"ab_test": r.choice("ABC"), "campaign": f"spring-{r.randrange(9)}"}
    return made


def item(r):
    """One item of a cart."""
    return {"sku": "SKU-%06d" % r.randrange(20_000), "qty": r.randrange(1, 5), "price": round(r.uniform(1, 500), 2)}


def write_part(part):
    """Write rows `first` to `last` of `rows` to a file of their own."""
    first, last, rows, hours, seed, path = part
    r = random.Random(seed)
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    with open(path, "w", encoding="utf-8") as out:
        for i in range(first, last):
            out.write(encode(event(r, i, rows, hours)) + "\n")
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--hours", type=int, default=12)
    parser.add_argument("--shuffled", action="store_true")
    asked = parser.parse_args()

    starts = range(0, asked.rows, PART_ROWS)
    parts = [
        (s, min(s + PART_ROWS, asked.rows), asked.rows, asked.hours, asked.seed + n, f"{asked.out}.part{n}")
        for n, s in enumerate(starts)
    ]
    with multiprocessing.Pool(min(2, len(parts))) as pool, open(asked.out + ".new", "wb") as out:
        for path in pool.imap(write_part, parts):
            with open(path, "rb") as written:
                lines = written.readlines() if asked.shuffled else iter(lambda: written.read(1 << 20), b"")
                if asked.shuffled:
                    random.Random(asked.seed).shuffle(lines)
                out.writelines(lines)
            os.remove(path)
    os.replace(asked.out + ".new", asked.out)


if __name__ == "__main__":
    main()
