"""`tabsvc.yml` and `workgroup.yml`: projections of the configuration in each service folder.

The files are written from the configuration document, and never read back into it (docs/format/configuration.md §4):
somebody who can change them changes nothing. Secrets are written as the `ENC(...)` texts of the document.
"""

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from strongroom.config import catalog
from strongroom.config.document import ConfigDocument
from strongroom.errors import FormatError, StorageError
from strongroom.system import durable

CLUSTER_FILE = "tabsvc.yml"
SERVICE_FILE = "workgroup.yml"

_HEAD = (
    "# Configuration version {version}, written by strongroom.\n"
    "# A projection: changes made here are lost. Use 'tsm configuration set'.\n"
)


def render(document: ConfigDocument) -> dict[str, bytes]:
    """The contents of both files by name (§4.1)."""
    defaults = {name: key.default for name, key in catalog.KEYS.items() if key.default is not None}
    return {
        CLUSTER_FILE: _dump(document.version, document.values),
        SERVICE_FILE: _dump(document.version, {**defaults, **document.values}),
    }


def parse(data: bytes) -> dict[str, str]:
    """Parse such a file, for tests and tools.

    Raises:
        FormatError: The file is damaged.
    """
    import yaml

    try:
        values: object = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FormatError("a configuration file is damaged: it is no YAML") from error
    if not isinstance(values, dict) or not all(
        isinstance(name, str) and isinstance(text, str) for name, text in values.items()
    ):
        raise FormatError("a configuration file is damaged: it is no mapping of name to text")
    return values


def differing(
    folders: Iterable[Path], document: ConfigDocument, file_modes: durable.FileModes
) -> list[Path]:
    """The files that are missing, or have other bytes or another mode than they should (§4.4)."""
    contents = render(document)
    return [
        folder / name
        for folder in folders
        for name, data in contents.items()
        if not _is_as_it_should_be(folder / name, data, file_modes)
    ]


def project(
    folders: Iterable[Path], document: ConfigDocument, file_modes: durable.FileModes
) -> list[Path]:
    """Rewrite the files that differ, each read back and compared; returns the rewritten files.

    Raises:
        StorageError: A file cannot be written, or reads back as something else.
    """
    contents = render(document)
    written = differing(folders, document, file_modes)
    for path in written:
        durable.make_folder(path.parent, file_modes)
        durable.write_file(path, contents[path.name], file_modes)
        if path.read_bytes() != contents[path.name]:
            raise StorageError(
                f"{path} does not hold what was written to it", hint="check the disk"
            )
    return written


def _dump(version: int, values: Mapping[str, str]) -> bytes:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    body: str = yaml.dump(
        dict(values), Dumper=dumper, sort_keys=True, allow_unicode=True, width=2**30
    )
    return (_HEAD.format(version=version) + body).encode("utf-8")


def _is_as_it_should_be(path: Path, data: bytes, file_modes: durable.FileModes) -> bool:
    try:
        return (
            path.read_bytes() == data and stat.S_IMODE(path.lstat().st_mode) == file_modes.file_mode
        )
    except OSError:
        return False
