"""The internal certificates as files of the index and search server."""

from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.consumers.kinds import ConsumerKind, Effective, Setting
from strongroom.system import values

if TYPE_CHECKING:
    from strongroom.consumers.base import Candidates, Consumer


def build(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    """The chain, if a directory is set."""
    del candidates  # files have no administrator
    directory = effective("indexandsearchserver.ssl.directory") or ""
    if not directory:
        return ()
    from strongroom.consumers.certificates_files import CertificatesConsumer

    return (CertificatesConsumer(Path(directory)),)


_DIRECTORY = Setting(
    "indexandsearchserver.ssl.directory",
    None,
    values.path,
    "where the internal certificates lie as files for the search server",
)
CONSUMER = ConsumerKind("certificates", (_DIRECTORY,), build)
