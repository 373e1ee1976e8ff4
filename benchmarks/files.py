"""The data path: whole processes beside their peers on one big file, and the path alone within one process."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import peers
from benchmarks.measure import (
    BenchError,
    Item,
    Results,
    measure,
    prime,
    random_file,
    run_command,
)
from benchmarks.peers import Gocryptfs, Peer
from benchmarks.report import Table, mebibytes, ratio
from benchmarks.workshop import Workshop

OURS = "strongroom"
DURABLE = "strongroom, durable"
GOCRYPTFS = "gocryptfs"
TINK = "Tink Python"
_TIMES_LARGER = 8


def run(shop: Workshop) -> None:
    """Encrypt and decrypt, beside everybody."""
    found = peers.find(shop.folder, shop.findings.absent)
    try:
        with _mounted(shop) as mount:
            items = [*_own_items(shop), *_peer_items(shop, found), *_mount_items(shop, mount)]
            subprocess.run(["sync"], check=True)
            shop.say(f"files: {len(items)} commands, {shop.rounds} rounds")
            results = measure(items, shop.rounds, shop.folder, shop.say)
        _sizes_and_tables(shop, items, results)
        _memory(shop, results)
    finally:
        peers.end_gpg(shop.folder)
        for path in shop.folder.glob("*.sealed-by-*"):
            path.unlink()


def run_big(shop: Workshop) -> None:
    """The product beside `cp` on a file eight times as large: what its start costs is gone."""
    size = _TIMES_LARGER * shop.size
    shop.say(f"big: one file of {size >> 20} MiB")
    source, sealed, target = (shop.folder / name for name in ("big", "big.sealed", "out"))
    random_file(source, size)
    try:
        shop.node.run("strongroom", "encrypt", source, sealed)
        subprocess.run(["sync"], check=True)
        items = [Item("cp", "copy", ["cp", str(source), str(target)], source, target)]
        for work, first in (("encrypt", source), ("decrypt", sealed)):
            words = shop.node.command("strongroom", work, first, target, "--no-sync")
            same = source if work == "decrypt" else None
            items.append(Item(OURS, work, words, first, target, shop.node.environment, equals=same))
        results = measure(items, shop.rounds, shop.folder, shop.say)
    finally:
        source.unlink()
        sealed.unlink(missing_ok=True)
    table = shop.findings.table(
        f"A file of {size / 2**20:,.0f} MiB, whole processes", "what", "MB/s", "CPU s/GiB", "/ cp"
    )
    copy = results["cp", "copy"]
    for (name, work), series in results.items():
        cpu = f"{series.cpu_s / size * 2**30:.2f}"
        versus = copy.wall_s / series.wall_s
        table.add(f"{name}, {work}", f"{size / series.wall_s / 1e6:,.0f}", cpu, ratio(versus))
        if name == OURS:
            shop.findings.figures[f"big {work}/cp"] = versus


def run_inside(shop: Workshop) -> None:
    """The parts of the path, and the path, in one process."""
    shop.say("inside: the data path and its parts within one process")
    found = shop.inside("data_path", source=str(shop.source), rounds=shop.rounds)
    table = shop.findings.table(
        "The data path within one process (no sync)",
        "what",
        "MB/s",
        "best",
        "CPU s/GiB",
        "/ cp",
    )
    for name, runs in found.items():
        speed, best = (shop.size / runs[key] / 1e6 for key in ("wall", "best"))
        # cp is a process of its own: its CPU is not this process's
        cpu = "–" if name == "cp" else f"{runs['cpu'] / shop.size * 2**30:.2f}"
        versus = ratio(found["cp"]["wall"] / runs["wall"])
        table.add(name, f"{speed:,.0f}", f"{best:,.0f}", cpu, versus)
    figures = shop.findings.figures
    parts = found["read"]["cpu"] + found["aead"]["cpu"] + found["write"]["cpu"]
    # what two cores can do at best, one that reads and seals and one that writes
    limit = max(found["read"]["wall"] + found["aead"]["wall"], found["write"]["wall"])
    table.add("limit of the parts", f"{shop.size / limit / 1e6:,.0f}", "–", "–", "–")
    for work in ("encrypt", "decrypt"):
        figures[f"inside {work}/cp"] = found["cp"]["wall"] / found[work]["wall"]
        figures[f"inside {work}/limit"] = limit / found[work]["wall"]
        figures[f"cpu {work}/parts"] = found[work]["cpu"] / parts
    figures["inside re-encrypt seconds"] = found["re-encrypt"]["wall"]


def _own_items(shop: Workshop) -> list[Item]:
    """The product, with and without syncs, and what it is measured against."""
    source, target = shop.source, shop.folder / "out"
    sealed = shop.folder / "strongroom.sealed-by-us"
    shop.node.run("strongroom", "encrypt", source, sealed)
    environment = shop.node.environment
    items = [
        Item("cp", "copy", ["cp", str(source), str(target)], source, target, equals=source),
        Item(
            "dd conv=fsync",
            "copy",
            ["dd", f"if={source}", f"of={target}", "bs=256K", "conv=fsync", "status=none"],
            source,
            target,
            equals=source,
        ),
    ]
    for name, option in ((OURS, ["--no-sync"]), (DURABLE, [])):
        for work, first in (("encrypt", source), ("decrypt", sealed)):
            words = shop.node.command("strongroom", work, first, target, *option)
            same = source if work == "decrypt" else None
            items.append(Item(name, work, words, first, target, environment, equals=same))
    return items


def _peer_items(shop: Workshop, found: list[Peer]) -> list[Item]:
    """Each peer's ciphertext is made once, and then decrypted in every round."""
    items = []
    for number, peer in enumerate(found):
        sealed, target = shop.folder / f"{number}.sealed-by-peer", shop.folder / "out"
        try:
            words = peers.fill(peer.encrypt, shop.source, sealed)
            run_command(words, shop.folder, peer.environment)
        except BenchError as error:
            shop.findings.absent[peer.name] = f"it does not run here: {error}"
            continue
        for work, command, first, same in (
            ("encrypt", peer.encrypt, shop.source, None),
            ("decrypt", peer.decrypt, sealed, shop.source),
        ):
            words = peers.fill(command, first, target)
            place = peer.environment
            items.append(Item(peer.name, work, words, first, target, place, equals=same))
    return items


@contextmanager
def _mounted(shop: Workshop) -> Iterator[Gocryptfs | None]:
    """A gocryptfs mount, or None and the reason among the absent."""
    mount = Gocryptfs(shop.folder)
    try:
        mount.start()
    except BenchError as error:
        shop.findings.absent[GOCRYPTFS] = str(error)
        yield None
        return
    try:
        yield mount
    finally:
        mount.stop()


def _mount_items(shop: Workshop, mount: Gocryptfs | None) -> list[Item]:
    if mount is None:
        return []
    inside, outside = mount.mount / "file", shop.folder / "out"
    subprocess.run(["cp", str(shop.source), str(mount.mount / "stored")], check=True)
    stored = mount.mount / "stored"
    encrypt = ["cp", str(shop.source), str(inside)]
    decrypt = ["cp", str(stored), str(outside)]
    return [
        Item(GOCRYPTFS, "encrypt", encrypt, shop.source, inside, daemon=mount.pid),
        Item(
            GOCRYPTFS,
            "decrypt",
            decrypt,
            shop.source,
            outside,
            equals=shop.source,
            daemon=mount.pid,
        ),
    ]


def _sizes_and_tables(shop: Workshop, items: list[Item], results: Results) -> None:
    copy = results["cp", "copy"].wall_s
    sizes = {item.name: item.reads.stat().st_size for item in items if item.work == "decrypt"}
    for work in ("encrypt", "decrypt"):
        table = shop.findings.table(
            f"{work.capitalize()} a file of {shop.size / 2**20:,.0f} MiB, whole processes",
            "who",
            "MB/s",
            "best",
            "CPU s/GiB",
            "peak memory",
            "expansion",
            "/ cp",
            "strongroom is",
        )
        for name in _names(results, work):
            _row(table, shop, results, (name, work), copy, sizes)
    figures = shop.findings.figures
    for (name, work), series in results.items():
        own = results.get((OURS, work))
        if own is not None and name not in {OURS, DURABLE}:
            figures[f"{work}/{name}"] = series.wall_s / own.wall_s
    for work in ("encrypt", "decrypt"):
        figures[f"{work}/cp"] = copy / results[OURS, work].wall_s
        _best_tink(figures, work)
    durable = results[DURABLE, "encrypt"].wall_s
    figures["durable encrypt/dd"] = results["dd conv=fsync", "copy"].wall_s / durable


def _best_tink(figures: dict[str, float], work: str) -> None:
    """The faster of Tink's two templates is the one to beat."""
    found = [value for name, value in figures.items() if name.startswith(f"{work}/{TINK}, ")]
    if found:
        figures[f"{work}/{TINK}"] = min(found)


def _names(results: Results, work: str) -> list[str]:
    """Copies first, then by speed."""
    chosen = [(name, kind) for name, kind in results if kind in {work, "copy"}]
    chosen.sort(key=lambda key: (key[1] != "copy", results[key].wall_s))
    return [name for name, _ in chosen]


def _row(
    table: Table,
    shop: Workshop,
    results: Results,
    key: tuple[str, str],
    copy: float,
    sizes: dict[str, int],
) -> None:
    name, work = key
    series = results.get(key) or results[name, "copy"]
    own = results[OURS, work].wall_s
    more = sizes.get(name, shop.size) - shop.size
    table.add(
        name,
        f"{shop.size / series.wall_s / 1e6:,.0f}",
        f"{shop.size / series.best_s / 1e6:,.0f}",
        f"{series.cpu_s / shop.size * 2**30:.2f}",
        mebibytes(series.peak_kib),
        f"{more / shop.size * 1e6:,.0f} ppm" if name in sizes and name != GOCRYPTFS else "–",
        ratio(copy / series.wall_s),
        "–" if name == OURS else f"{ratio(series.wall_s / own)} x",
    )


def _memory(shop: Workshop, results: Results) -> None:
    """What the size of the file adds to the memory of the process (F6)."""
    small, target = random_file(shop.folder / "tiny", 1), shop.folder / "out"
    prime(small, shop.folder)
    words = shop.node.command("strongroom", "encrypt", small, target, "--no-sync")
    idle = run_command(words, shop.folder, shop.node.environment)
    with suppress(FileNotFoundError):
        Path(target).unlink()
    peak = max(results[OURS, work].peak_kib for work in ("encrypt", "decrypt"))
    if idle.peak_kib and peak:
        shop.findings.figures["peak above idle"] = max(0, peak - idle.peak_kib) / 1024
