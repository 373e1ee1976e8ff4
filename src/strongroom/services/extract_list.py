"""The extracts of a site, as the command line shows and names them."""

from strongroom.errors import NotFoundError, UsageError
from strongroom.repository.folding import fold
from strongroom.repository.rows import ContentRow
from strongroom.repository.unit_of_work import Repository


def of_site(repository: Repository, site_id: str) -> list[ContentRow]:
    """Everything that is an extract or holds one, and whatever else is encrypted; by name."""
    with repository.reading() as tx:
        rows = tx.contents.list_for_site(site_id)
    extracts = [row for row in rows if row.storage_key and (row.has_extract or row.file_id)]
    return sorted(extracts, key=lambda row: (fold(row.name), row.kind, row.id))


def find(repository: Repository, site_id: str, text: str) -> ContentRow:
    """The extract that a person means, by id or by name in any case.

    Raises:
        NotFoundError: The site has none of that id or name.
        UsageError: It has several of that name.
    """
    rows = of_site(repository, site_id)
    found = [row for row in rows if row.id == text] or [
        row for row in rows if fold(row.name) == fold(text)
    ]
    if not found:
        raise NotFoundError(
            f"there is no extract {text!r} on this site",
            hint="'strongroom extracts list --site SITE' shows them",
        )
    if len(found) > 1:
        ids = ", ".join(f"{row.id} ({row.kind})" for row in found)
        raise UsageError(f"{len(found)} extracts are named {text!r}", hint=f"name one by id: {ids}")
    return found[0]
