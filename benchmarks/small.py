"""Many files of 1 KiB."""

from benchmarks.report import ratio
from benchmarks.workshop import Workshop

_FILES = 4000


def run(shop: Workshop) -> None:
    """One by one and in batches, beside plain copies."""
    count = shop.count(_FILES, 100)
    shop.say(f"small: {count} files of 1 KiB, six ways")
    found = shop.inside("small_files", count=count, rounds=shop.rounds)
    table = shop.findings.table(
        f"{count:,} files of 1 KiB, in process", "what", "files/s", "µs each", "/ copy"
    )
    for name, runs in found.items():
        base = found["durable copy" if name.startswith("durable") else "plain copy"]
        each, versus = runs["wall"] / count * 1e6, ratio(base["wall"] / runs["wall"])
        table.add(name, f"{1e6 / each:,.0f}", f"{each:,.0f}", versus)
    figures = shop.findings.figures
    figures["small/copy"] = found["plain copy"]["wall"] / found["batched"]["wall"]
    durable = found["durable, batched"]["wall"]
    figures["small durable/copy"] = found["durable copy"]["wall"] / durable
