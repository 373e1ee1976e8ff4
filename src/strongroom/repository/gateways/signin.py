"""Personal access tokens and sessions: what stands for a user after a sign-in."""

from sqlalchemy import delete, select

from strongroom.repository import tables
from strongroom.repository.folding import fold
from strongroom.repository.gateways.base import TableGateway
from strongroom.repository.rows import SessionRow, TokenRow

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
        """Note that a session was used."""
        self._change(_SESSION.token_hash == token_hash, {"last_seen_at": last_seen_at})

    def prune(self, idle_before: str) -> int:
        """Remove the sessions not used since; returns how many."""
        statement = delete(self.table).where(_SESSION.last_seen_at < idle_before)
        return self._connection.execute(statement).rowcount

    def prune_user(self, user_id: str, keep: int) -> int:
        """Remove a user's sessions but the `keep` used last; returns how many."""
        kept = (
            select(_SESSION.token_hash)
            .where(_SESSION.user_id == user_id)
            .order_by(_SESSION.last_seen_at.desc(), _SESSION.created_at.desc(), _SESSION.token_hash)
            .limit(keep)
        )
        statement = delete(self.table).where(
            _SESSION.user_id == user_id, _SESSION.token_hash.not_in(kept)
        )
        return self._connection.execute(statement).rowcount

    def delete_of_user(self, user_id: str, site_id: str | None = None) -> int:
        """End all sessions of a user, on one site or everywhere; returns how many."""
        statement = delete(self.table).where(_SESSION.user_id == user_id)
        if site_id is not None:
            statement = statement.where(_SESSION.site_id == site_id)
        return self._connection.execute(statement).rowcount
