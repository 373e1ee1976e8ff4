"""Ids by their first digits, for the owner of the node, who types what a list has shown; found by index."""

from strongroom.repository.unit_of_work import Repository

_MOST = 1000
"""More ids than anybody would want to be told; nobody meant one of so many."""


class KnownIds:
    """The ids of each kind, in order; those that begin with a text, or with an empty one all of them."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def sites(self, text: str = "") -> list[str]:
        """Ids of sites."""
        with self._repository.reading() as tx:
            return tx.sites.beginning_with(text, _limit(text))

    def users(self, text: str = "") -> list[str]:
        """Ids of users."""
        with self._repository.reading() as tx:
            return tx.users.beginning_with(text, _limit(text))

    def tokens(self, text: str = "") -> list[str]:
        """Ids of personal access tokens."""
        with self._repository.reading() as tx:
            return tx.tokens.beginning_with(text, _limit(text))

    def jobs(self, text: str = "") -> list[str]:
        """Ids of jobs."""
        with self._repository.reading() as tx:
            return tx.jobs.beginning_with(text, _limit(text))

    def extracts(self, site_id: str, text: str) -> list[str]:
        """Ids of a site's content that is an extract, contains one, or is encrypted."""
        with self._repository.reading() as tx:
            return tx.contents.extracts_beginning_with(site_id, text, _MOST)


def _limit(text: str) -> int | None:
    return _MOST if text else None
