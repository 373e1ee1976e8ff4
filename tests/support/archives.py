"""Archives of the backups' container, made in memory of any entries."""

from strongroom.backup.archive import ArchiveWriter


class Memory:
    """A sink in memory, which is written from its beginning to its end."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        assert offset == len(self.data)
        self.data += data


def written(*entries: tuple[str, bytes]) -> bytes:
    """An archive of these entries, in this order."""
    sink = Memory()
    writer = ArchiveWriter(sink)
    for name, data in entries:
        writer.add_bytes(name, data)
    writer.finish()
    assert writer.size == len(sink.data)
    return bytes(sink.data)
