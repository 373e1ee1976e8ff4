"""Extracts through an object store, beside the same bytes sent and fetched plain by the store's own library.

The environment variable `STRONGROOM_BENCH_STORE` names the store (`s3://bucket/prefix?region=…&endpoint=…`), and AWS's own
variables the credentials. The library is boto3 with its transfers of many parts, by which `aws s3 cp` does its work.
"""

import os

from benchmarks.report import ratio
from benchmarks.workshop import Workshop

_ADDRESS = "STRONGROOM_BENCH_STORE"
_PAIRS = (
    ("publish", "upload", "sealed and sent", "sent plain"),
    ("read", "download", "fetched and opened", "fetched plain"),
)


def run(shop: Workshop) -> None:
    """Publish, read, and the first bytes of a range."""
    address = os.environ.get(_ADDRESS)
    if not address:
        shop.findings.absent["an object store"] = f"{_ADDRESS} names none"
        return
    shop.say("store: through the object store and beside it")
    found = shop.inside("store_path", address=address, source=str(shop.source), rounds=shop.rounds)
    table = shop.findings.table("Object store", "what", "MB/s", "CPU s/GiB", "/ plain")
    for ours, plain, *words in _PAIRS:
        share = found[plain]["wall"] / found[ours]["wall"]
        for name, word, shown in ((ours, words[0], ratio(share)), (plain, words[1], "1")):
            speed = shop.size / found[name]["wall"] / 1e6
            cpu = found[name]["cpu"] / shop.size * 2**30
            table.add(word, f"{speed:,.0f}", f"{cpu:.2f}", shown)
        shop.findings.figures[f"store {ours}/plain"] = share
    first = found["first byte"]
    share = first["ours"] / first["plain"]
    table.add("first bytes of a range", f"{first['ours'] * 1000:.1f} ms", "–", ratio(share))
    table.add("the same, plain", f"{first['plain'] * 1000:.1f} ms", "–", "1")
    shop.findings.figures["store first byte/plain"] = share
