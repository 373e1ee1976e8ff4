"""Archives and manifests of any shape: what is written comes back, what is no backup is refused with one kind of error (S9)."""

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.backup import archive, manifest
from strongroom.backup.archive import BytesSource
from strongroom.backup.open_backup import OpenBackup
from strongroom.errors import FormatError
from tests.support.archives import written

PARTS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,14}", fullmatch=True)
NAMES = st.lists(PARTS, min_size=1, max_size=6).map("/".join)
ENTRIES = st.dictionaries(NAMES, st.binary(max_size=1500), max_size=6)


@given(ENTRIES)
def test_any_entries_come_back(entries: dict[str, bytes]) -> None:
    whole = {archive.MARK: b"mark", **entries}
    source = BytesSource(written(*whole.items()))
    found = archive.scan(source)
    assert {one.name: archive.content(source, one, one.size) for one in found} == whole
    assert [one.name for one in found] == list(whole)


@given(ENTRIES, st.data())
def test_a_changed_archive_is_refused_or_shows_it(
    entries: dict[str, bytes], data: st.DataObject
) -> None:
    """Bytes changed, cut out, put in: another list of digests, or one kind of error."""
    raw = written(*{archive.MARK: b"mark", **entries}.items())
    at = data.draw(st.integers(0, len(raw) - 1))
    count = data.draw(st.integers(0, 600))
    piece = data.draw(st.binary(max_size=600))
    changed = raw[:at] + piece + raw[at + count :]
    before = archive.scan(BytesSource(raw))
    try:
        after = archive.scan(BytesSource(changed))
    except FormatError:
        return
    assert changed == raw or after != before


@given(st.binary(max_size=3000))
@example(b"")
@example(written(*{archive.MARK: b"mark"}.items()))
@example(written(*{archive.MARK: b"{}", manifest.MANIFEST: b"{}", manifest.SEAL: b"{}"}.items()))
def test_anything_else_is_refused(raw: bytes) -> None:
    for data in (
        raw,
        written(*{archive.MARK: raw, manifest.MANIFEST: raw, manifest.SEAL: raw}.items()),
    ):
        with contextlib.suppress(FormatError):
            OpenBackup.check(BytesSource(data))
            raise AssertionError("it was taken for a backup")
