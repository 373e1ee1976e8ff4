"""Personal access tokens and sessions."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, or_, select

from strongroom.repository import tables
from strongroom.repository.folding import fold
from strongroom.repository.gateways.base import TableGateway
from strongroom.repository.rows import SessionRow, TokenRow

#: How many sessions a statement names: SQLite allows 32,766 parameters, and after a night all sessions may end at once.
_PIECE = 500
_TOKEN = tables.tokens.c
_SESSION = tables.sessions.c


class TokensTable(TableGateway[TokenRow]):
    """Personal access tokens."""

    table = tables.tokens
    row_type = TokenRow
    noun = "token"

    def find_by_hash(self, secret_hash: str) -> TokenRow | None:
        """The token whose secret has that hash."""
        return self._find(_TOKEN.secret_hash == secret_hash)

    def find_by_name(self, user_id: str, name: str) -> TokenRow | None:
        """A user's token of that name, whatever its case."""
        return self._find(_TOKEN.user_id == user_id, _TOKEN.name_folded == fold(name))

    def list(self, user_id: str | None = None) -> list[TokenRow]:
        """Tokens by name, of one user or of all."""
        statement = select(self.table).order_by(_TOKEN.name_folded, _TOKEN.id)
        if user_id is not None:
            statement = statement.where(_TOKEN.user_id == user_id)
        return self._all(statement)


class SessionsTable(TableGateway[SessionRow]):
    """Signed-in sessions."""

    table = tables.sessions
    row_type = SessionRow
    noun = "session"
    key = "token_hash"

    def touch(self, token_hash: str, last_seen_at: str) -> None:
        """Store when a session was last used."""
        self._change(_SESSION.token_hash == token_hash, {"last_seen_at": last_seen_at})

    def list(
        self, *, user_id: str | None = None, site_id: str | None = None
    ) -> Sequence[SessionRow]:
        """Sessions of a user, of a site, or all."""
        statement = select(self.table)
        if user_id is not None:
            statement = statement.where(_SESSION.user_id == user_id)
        if site_id is not None:
            statement = statement.where(_SESSION.site_id == site_id)
        return self._all(statement)

    def prune(self, idle_before: str, future_after: str, but: Collection[str] = ()) -> int:
        """Delete sessions that were last used before a time, or after another one, in the future; returns how many.

        Args:
            idle_before: The earlier time.
            future_after: The later time; a use after it was stored before the clock was set back.
            but: Token hashes of sessions to keep, since they were used and the use is not stored yet.
        """
        ended = or_(_SESSION.last_seen_at < idle_before, _SESSION.last_seen_at > future_after)
        # sessions that another transaction is ending are left to it: two that wait for each other's would both fail
        free = select(_SESSION.token_hash).where(ended).with_for_update(skip_locked=True)
        found = self._connection.execute(free).scalars()
        return self.delete_all([one for one in found if one not in but])

    def delete_all(self, token_hashes: Collection[str]) -> int:
        """Delete these sessions; returns how many existed."""
        hashes, count = list(token_hashes), 0
        for begin in range(0, len(hashes), _PIECE):
            piece = hashes[begin : begin + _PIECE]
            statement = delete(self.table).where(_SESSION.token_hash.in_(piece))
            count += self._connection.execute(statement).rowcount
        return count

    def delete_of_user(self, user_id: str, site_id: str | None = None) -> int:
        """End all sessions of a user, on one site or everywhere; returns how many."""
        statement = delete(self.table).where(_SESSION.user_id == user_id)
        if site_id is not None:
            statement = statement.where(_SESSION.site_id == site_id)
        return self._connection.execute(statement).rowcount
