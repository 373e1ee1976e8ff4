"""Rotation: one-pass re-encryption, rewrap of envelopes on disk, rewrap of wrapped keys beside OpenBao."""

import os
import shutil
import statistics
import time
from base64 import b64encode

from benchmarks import peers
from benchmarks.measure import BenchError, Item, measure, run_command
from benchmarks.openbao import OpenBao
from benchmarks.report import ratio
from benchmarks.workshop import Workshop

_FILES, _ROWS, _PEER_KEYS = 4000, 100_000, 20_000
_HEADER_BYTES = 8192
_PEER_BATCH = 100


def run(shop: Workshop) -> None:
    """All three."""
    _reencrypt(shop)
    _rewrap(shop)


def _reencrypt(shop: Workshop) -> None:
    """Ours within one process (its figure comes from the suite `inside`), age as two processes and a pipe."""
    ours = shop.one_pass_seconds()
    if shutil.which("age") is None:
        shop.findings.absent["age -d | age"] = "the command age is not installed"
        return
    shop.say("rotate: age -d | age")
    identity = peers.age_identity(shop.folder)
    sealed, target = shop.folder / "age.sealed", shop.folder / "out"
    recipient = peers.age_recipient(identity)
    run_command(["age", "-r", recipient, "-o", str(sealed), str(shop.source)], shop.folder)
    pipe = f"age -d -i '{identity}' '{sealed}' | age -r {recipient} -o '{target}'"
    item = Item("age -d | age", "re-encrypt", ["sh", "-c", pipe], sealed, target)
    series = measure([item], shop.rounds, shop.folder, lambda _: None)[item.name, item.work]
    sealed.unlink()
    table = shop.findings.table("Re-encrypt in one pass", "who", "MB/s", "strongroom is")
    table.add("strongroom", f"{shop.size / ours / 1e6:,.0f}", "–")
    shown = f"{ratio(series.wall_s / ours)} x"
    table.add(item.name, f"{shop.size / series.wall_s / 1e6:,.0f}", shown)
    shop.findings.figures["reencrypt/age"] = series.wall_s / ours


def _rewrap(shop: Workshop) -> None:
    files, rows = shop.count(_FILES, 80), shop.count(_ROWS, 1000)
    shop.say(f"rotate: rewrap of {files} envelopes and of {rows} keys in SQLite")
    found = shop.inside("rotation", files=files, rows=rows)
    table = shop.findings.table("Rewrap after `kms rotate`", "what", "rate", "read for each")
    for name, text in (
        ("few", f"{files // 4:,} envelopes on disk, synced"),
        ("many", f"{files:,} envelopes on disk, synced"),
        ("large", "16 envelopes of 1 MiB, synced"),
    ):
        read = f"{found[name]['read']:,.0f} B"
        table.add(text, f"{found[name]['rate']:,.0f}/s", read)
    rate = found["table"]["rate"]
    table.add(f"{rows:,} wrapped keys in SQLite, synced", f"{rate:,.0f}/s", "–")
    figures = shop.findings.figures
    figures["rewrap rate"] = found["many"]["rate"]
    figures["rewrap linear"] = found["many"]["rate"] / found["few"]["rate"]
    # the header is read twice, and the end of the event log for each batch; a mebibyte of data would show
    most = 2 * _HEADER_BYTES + 65_536
    figures["rewrap data read"] = 0.0 if found["large"]["read"] < most else found["large"]["read"]
    figures["table rate"] = rate
    try:
        theirs = _openbao(shop)
    except BenchError as error:
        shop.findings.absent["OpenBao, batch rewrap"] = str(error)
        return
    table.add("OpenBao transit, batches of 100 over HTTP", f"{theirs:,.0f}/s", "–")
    figures["table/openbao"] = rate / theirs


def _openbao(shop: Workshop) -> float:
    """Keys rewrapped in a second; its store is in memory, and nothing is audited."""
    with OpenBao(shop.folder) as bao:
        shop.say("rotate: OpenBao's batch rewrap")
        bao.call("POST", "sys/mounts/transit", {"type": "transit"})
        bao.call("POST", "transit/keys/bench", {"type": "aes256-gcm96"})
        batches = []
        for _ in range(shop.count(_PEER_KEYS, 400) // _PEER_BATCH):
            keys = [{"plaintext": b64encode(os.urandom(32)).decode()} for _ in range(_PEER_BATCH)]
            answer = bao.call("POST", "transit/encrypt/bench", {"batch_input": keys})
            made = answer["data"]["batch_results"]
            batches.append([{"ciphertext": row["ciphertext"]} for row in made])
        rates = []
        for _ in range(shop.rounds):
            bao.call("POST", "transit/keys/bench/rotate", {})
            began = time.perf_counter()
            for number, batch in enumerate(batches):
                answer = bao.call("POST", "transit/rewrap/bench", {"batch_input": batch})
                made = answer["data"]["batch_results"]
                batches[number] = [{"ciphertext": row["ciphertext"]} for row in made]
            wall = time.perf_counter() - began
            rates.append(sum(map(len, batches)) / wall)
        return statistics.median(rates)
