"""Lists and finds the extracts of a site for the command line."""

from typing import Protocol

from strongroom.errors import NotFoundError, UsageError
from strongroom.extracts.model import ContentKind
from strongroom.repository.folding import fold
from strongroom.repository.rows import ContentRow
from strongroom.repository.unit_of_work import Repository
from strongroom.system.plural import counted


class LocatesFiles(Protocol):
    """A file store that says where its files lie."""

    def place_of(self, key: str) -> str:
        """Where the file of a storage key lies: a path, or the address of an object."""
        ...


class ExtractList:
    """Looks extracts up, for whoever owns the node."""

    def __init__(self, repository: Repository, files: LocatesFiles) -> None:
        self._repository = repository
        self._files = files

    def of_site(self, site_id: str) -> list[ContentRow]:
        """The content that is an extract, contains one, or is encrypted; sorted by name."""
        with self._repository.reading() as tx:
            rows = tx.contents.list_for_site(site_id)
        return sorted(filter(_is_extract, rows), key=lambda row: (fold(row.name), row.kind, row.id))

    def find(self, site_id: str, text: str) -> ContentRow:
        """The extract of an id, or of a name in any case; found by index, so that a large site costs nothing.

        Raises:
            NotFoundError: The site has no extract of that id or name.
            UsageError: The site has several extracts of that name.
        """
        with self._repository.reading() as tx:
            row = tx.contents.find(text)
            rows = [row] if row is not None and row.site_id == site_id else []
            if not rows:
                for kind in ContentKind:
                    rows += tx.contents.list_by_name(site_id, kind, text)
        found = sorted(filter(_is_extract, rows), key=lambda row: (row.kind, row.id))
        if not found:
            raise NotFoundError(
                f"there is no extract {text!r} on this site",
                hint="'strongroom extracts list --site SITE' shows them",
            )
        if len(found) > 1:
            ids = ", ".join(f"{row.id} ({row.kind})" for row in found)
            raise UsageError(
                f"{counted(len(found), 'extract')} are named {text!r}",
                hint=f"name one by id: {ids}",
            )
        return found[0]

    def place(self, row: ContentRow) -> str:
        """Where the extract's file lies: a path, or the address of an object."""
        return self._files.place_of(row.storage_key)


def _is_extract(row: ContentRow) -> bool:
    return bool(row.storage_key) and (row.has_extract or bool(row.file_id))
