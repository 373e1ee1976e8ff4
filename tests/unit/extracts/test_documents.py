"""Documents are read in bounded time and memory, whoever wrote them (findings T5)."""

import io
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator

import pytest

from strongroom.errors import FormatError
from strongroom.extracts import documents
from strongroom.extracts.documents import Connection, connections_of
from strongroom.extracts.model import FileType

MIB = 1024 * 1024
POSTGRES = b'<connection class="postgres" server="s"/>'


def read(document: bytes, file_type: FileType = FileType.TDS) -> list[Connection]:
    return connections_of(file_type, io.BytesIO(document))


def packed(document: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("data.tds", document)
    return made.getvalue()


def nested(depth: int, tag: bytes = b"connection") -> bytes:
    return b"<%b>" % tag * depth + b"</%b>" % tag * depth


_PEAK = """
import io, struct, sys, tracemalloc
from strongroom.extracts.documents import connections_of
from strongroom.extracts.model import FileType

while head := sys.stdin.buffer.read(8):
    document = io.BytesIO(sys.stdin.buffer.read(*struct.unpack("Q", head)))
    tracemalloc.start()
    connections_of(FileType.TDS, document)
    print(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
"""


def peaks_of(*documents: bytes) -> list[int]:
    """Bytes at the peak of reading each, in a process of its own: threads that other tests left would count, too."""
    sent = b"".join(struct.pack("Q", len(one)) + one for one in documents)
    told = subprocess.run(
        [sys.executable, "-c", _PEAK], input=sent, check=True, capture_output=True
    )
    return [int(line) for line in told.stdout.split()]


def test_what_says_a_connection() -> None:
    document = b"""<datasource caption="c" name="n"><connection class="federated"><named-connections>
      <named-connection><connection class="a" server="1"><relation><connection class="no"/></relation></connection>
      </named-connection></named-connections></connection>
      <extract><datasource><connection class="no"/></datasource></extract>
      <x><datasource><y/><connection class="b" dbname="d"/></datasource></x><connection class="c"/></datasource>"""
    found = [(one.kind, one.datasource, one.server, one.database) for one in read(document)]
    assert found == [("a", "c", "1", ""), ("b", "", "", "d"), ("c", "c", "", "")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_other_encodings(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><datasource name="é"><connection class="a"/></datasource>'
    assert [one.datasource for one in read(text.encode(encoding))] == ["é"]


@pytest.mark.parametrize("tag", [b"connection", b"datasource", b"a"])
def test_depth_is_bounded(tag: bytes) -> None:
    assert read(nested(documents.MAX_DEPTH, tag)) == []
    with pytest.raises(FormatError, match="nests deeper"):
        read(nested(documents.MAX_DEPTH + 1, tag))
    with pytest.raises(FormatError, match="nests deeper"):
        read(b"<%b>" % tag * MIB)  # refused long before its end, which is missing


def test_number_of_elements_is_bounded() -> None:
    with pytest.raises(FormatError, match="elements"):
        read(b"<a>" + b"<a/>" * documents.MAX_ELEMENTS + b"</a>")


@pytest.mark.parametrize(
    "inner", [b"<a/>", b"<a>text</a>", b"<a b='c'/>", b"<a/>text ", b"<!--c-->"]
)
def test_what_was_read_is_not_kept(inner: bytes) -> None:
    """Four times the document takes no more memory: nothing of it stays."""
    small, large = peaks_of(*(b"<r>" + inner * count + b"</r>" for count in (20_000, 80_000)))
    assert large < small + MIB // 4  # a tree of the difference takes 5 MiB
    assert large < MIB


@pytest.mark.parametrize("depth", [2, 200])
def test_an_element_costs_the_same_at_every_depth(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look at one place for each, counted."""
    looks = 0
    within = documents._Place.within

    def counted(place: documents._Place, tag: str, attributes: dict[str, str]) -> documents._Place:
        nonlocal looks
        looks += 1
        return within(place, tag, attributes)

    monkeypatch.setattr(documents._Place, "within", counted)
    read(b"<r>" + nested(depth) * 10 + b"</r>")
    assert looks == 10 * depth + 1


@pytest.mark.parametrize(
    "start",
    [b"<a b='", b"<a ", b"<!--", b"<?p ", b"<", b"<a>", b"</r"],
    ids=["value", "tag", "comment", "instruction", "name", "space", "end"],
)
def test_a_token_is_bounded(start: bytes) -> None:
    """Those that never end; a text is none, since it is told in parts."""
    fill = b"x" if start != b"<a " else b" "
    document = b"<r>" + start + fill * (3 * MIB)
    words = "no well-formed" if start == b"<a>" else "of more than"
    with pytest.raises(FormatError, match=words):
        read(document)


def test_a_long_text_is_none_of_the_bounds() -> None:
    text = b"x" * (3 * MIB)
    document = b"<datasource><t>%b</t><t><![CDATA[%b]]></t>%b</datasource>" % (text, text, POSTGRES)
    assert [one.kind for one in read(document)] == ["postgres"]


def distinct(count: int) -> Iterator[bytes]:
    return (b"<n%d/>" % number for number in range(count))


def test_the_number_of_names_is_bounded() -> None:
    with pytest.raises(FormatError, match="different names"):
        read(b"<r>" + b"".join(distinct(documents.MAX_NAMES + 20_000)) + b"</r>")
    assert read(b"<r>" + b"".join(distinct(documents.MAX_NAMES - 10)) + b"</r>") == []


def test_a_long_namespace_is_copied_nowhere() -> None:
    document = b'<r xmlns="%b">' % (b"u" * (MIB // 2)) + b"".join(distinct(5000)) + b"</r>"
    [peak] = peaks_of(document)
    assert peak < 8 * MIB


@pytest.mark.parametrize(
    "name", ["class", "server", "port", "dbname", "username", "authentication"]
)
def test_what_is_shown_is_bounded(name: str) -> None:
    longest = "x" * documents.MAX_CHARACTERS
    others = "" if name == "class" else 'class="c" '
    document = f'<datasource><connection {others}{name}="{longest}"/></datasource>'
    assert len(read(document.encode())) == 1
    with pytest.raises(FormatError, match="characters"):
        read(document.replace(longest, longest + "x").encode())


def test_the_name_of_a_data_source_is_bounded() -> None:
    with pytest.raises(FormatError, match="characters"):
        read(b'<datasource caption="%b">%b</datasource>' % (b"x" * 5000, POSTGRES))


def test_size_is_bounded_and_within_a_package_more() -> None:
    document = b"<r>" + b" " * documents.MAX_UNPACKED_BYTES + b"</r>"
    assert read(document) == []
    package = packed(document)
    assert len(package) < MIB
    with pytest.raises(FormatError, match="larger than"):
        read(package, FileType.TDSX)
    with pytest.raises(FormatError, match="larger than"):
        read(b"<r>" + b" " * documents.MAX_DOCUMENT_BYTES + b"</r>")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<r>",
        b"<r></s>",
        b"<r/><r/>",
        b"\xff\xfe<",
        b'<?xml version="1.0" encoding="nosuch"?><r/>',
        b'<?xml version="1.0" encoding="utf-7"?><r/>',
        b"<r>&nosuch;</r>",
    ],
)
def test_what_is_no_document(document: bytes) -> None:
    with pytest.raises(FormatError, match="no well-formed XML"):
        read(document)


@pytest.mark.parametrize(
    "document",
    [
        b"<!DOCTYPE r><r/>",
        b'<!DOCTYPE r SYSTEM "http://127.0.0.1/x"><r/>',
        b"<!DOCTYPE r [<!ENTITY a 'b'>]><r>&a;</r>",
    ],
)
def test_document_types_are_refused(document: bytes) -> None:
    with pytest.raises(FormatError, match="document type or an entity"):
        read(document)


def test_a_package_whose_document_is_damaged() -> None:
    package = bytearray(packed(b"<datasource>" + POSTGRES * 50 + b"</datasource>"))
    package[40:60] = b"\xff" * 20
    with pytest.raises(FormatError, match="cannot be unpacked"):
        read(bytes(package), FileType.TDSX)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("cut", [False, True])
def test_a_package_of_an_earlier_version_whose_document_is_packed_otherwise(
    method: int, cut: bool
) -> None:
    """A damaged LZMA stream raises an error that is no other's; it went through every list of errors."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as package:
        package.writestr("a.tds", b"<datasource>" + POSTGRES * 50 + b"</datasource>")
    content = bytearray(made.getvalue())
    if cut:
        start = content.index(b"a.tds") + 5
        content[start : start + 20] = b"\xff" * 20
    if method in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} and not cut:
        assert read(bytes(content), FileType.TDSX)
    else:
        with pytest.raises(FormatError):
            read(bytes(content), FileType.TDSX)
