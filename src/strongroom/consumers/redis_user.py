"""Rotates the password of a user of Redis 6.2 or later, whose hash is in the ACL file of every server (C-28).

The user changes its own password, and needs the rights `+acl +client +ping +info` for it. The server needs an
`aclfile`, since passwords in redis.conf would be plain text. Redis stores unsalted SHA-256 hashes, from which a weak
password can be found, so only generated passwords are used. Replicas and nodes of a cluster have ACLs of their own, so
the change is made in all of them, or in none.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from strongroom.consumers import redis_places
from strongroom.consumers.base import (
    Candidates,
    ConsumerDescription,
    Credential,
    SecretCopy,
    UnprovenLoginError,
    file_copy,
)
from strongroom.consumers.redis_server import (
    FOUND,
    IGNORED,
    Ask,
    Place,
    RedisRefusedError,
    RedisServer,
    RedisSettings,
)
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerError, ConsumerRefusedError, ConsumerUnavailableError
from strongroom.system import hosts

Opened = list[tuple[RedisServer, Ask]]

PARAMETER = "redis.password"
_PAUSE_MS = 1000
"""The longest that writing clients are paused while the user's sessions are ended; the pause ends with that."""
_NO_CLIENT = 2**63 - 1
"""The id of no connection: a command that ends this connection has no effect, and shows whether the user may run it."""
_HOWTO = "docs/howto/consumers.md"


class RedisConsumer:
    """The ACL user that clients of Redis log in as, and its `redis.password`."""

    def __init__(self, settings: RedisSettings, candidates: Candidates) -> None:
        """Check and keep the settings; sends no request.

        Raises:
            UsageError: The settings would send a password over a network without encryption.
        """
        settings.check()
        self._settings = settings
        self._candidates = candidates
        self._remarks: dict[str, None] = {}

    def describe(self) -> ConsumerDescription:
        """A user, whose old and new password may be valid together, as two hashes."""
        where = f"{self._settings.where}, user {self._settings.user}"
        return ConsumerDescription(f"redis/{self._settings.user}", "redis", (PARAMETER,), where)

    def login(self, credential: Credential) -> None:
        """Send AUTH and PING to every server.

        Raises:
            UnprovenLoginError: A server accepts any password; or the configured server accepts this one, and another
                server of the same users does not.
        """
        with self._opened((credential.only(),), changing=False) as opened:
            for server, ask in opened:
                if self._is_open(ask):
                    anybody = UnprovenLoginError(
                        f"Redis at {server.where} accepts any password (nopass): a login proves nothing",
                        hint=_no_password(self._settings.user),
                    )
                    anybody.is_let_in = True
                    raise anybody

    def admit(self, new: Credential, present: Credential) -> None:
        """Make both hashes valid in every server, and write them to its ACL file."""
        with self._opened(self._passwords(new, present)) as opened:
            for server, ask in opened:
                self._check_possible(server, ask)
            self._set_in_all(opened, (present.only(), new.only()), before=(present.only(),))

    def take_back(self, new: Credential, present: Credential) -> None:
        """Make only the present hash valid; sessions may go on, since no client has learnt the new password."""
        with self._opened(self._passwords(present, new)) as opened:
            for _, ask in opened:
                self._set_hashes(ask, (present.only(),))

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Make only the present hash valid, and end all sessions of the user, since Redis does not show their passwords."""
        del old  # every hash but the present one is removed, so the old one needs no name
        with self._opened(self._passwords(present)) as opened:
            for _, ask in opened:
                ask(
                    "ACL SAVE"
                )  # a file that cannot be written would have the old one valid after a start
                self._set_hashes(ask, (present.only(),))
                self._end_sessions(ask)

    def remarks(self) -> tuple[str, ...]:
        """The replicas that were not changed."""
        return tuple(self._remarks)

    def copies(self) -> tuple[SecretCopy, ...]:
        """The ACL file, if it is known."""
        if self._settings.acl_file:
            return (file_copy((PARAMETER,), Path(self._settings.acl_file), "hash"),)
        return (SecretCopy((PARAMETER,), f"the ACL file of {self._settings.where}", "hash"),)

    # ---- which servers ---------------------------------------------------------------------------

    def _passwords(self, *first: Credential) -> list[SecretBytes]:
        """The passwords to try with a server: the given ones, then the other known ones."""
        found = [*(one.only() for one in first), *self._candidates(PARAMETER)]
        return [one for number, one in enumerate(found) if one not in found[:number]]

    @contextmanager
    def _opened(
        self, passwords: Sequence[SecretBytes], *, changing: bool = True
    ) -> Iterator[Opened]:
        """Sessions with every server that has the user; the configured one comes first."""
        with ExitStack() as stack:
            first = RedisServer(self._settings, self._settings.place)
            ask = stack.enter_context(first.session(passwords))
            if changing:
                redis_places.check_asked(ask, first.where)
            opened: Opened = [(first, ask)]
            known = {first.place}
            # the list grows in the loop, since a replica may have replicas of its own
            for server, ask in opened:
                try:
                    places = self._beside(server, ask, is_asked=server is first)
                except ConsumerRefusedError:
                    if changing:
                        raise
                    # this password's user may not ask for the other servers; a login is proved at the known ones
                    continue
                for place in places:
                    if place not in known:
                        known.add(place)
                        another = RedisServer(self._settings, place)
                        opened.append((another, self._enter(stack, another, passwords, first)))
            yield opened

    def _enter(
        self,
        stack: ExitStack,
        server: RedisServer,
        passwords: Sequence[SecretBytes],
        first: RedisServer,
    ) -> Ask:
        """A session with a server beside the configured one."""
        hint = f"make its user like that of {first.where}, or set redis.replicas: {_HOWTO}"
        try:
            return stack.enter_context(server.session(passwords))
        except ConsumerRefusedError as error:
            raise UnprovenLoginError(f"beside {first.where}: {error.message}", hint=hint) from error
        except ConsumerUnavailableError as error:
            raise ConsumerUnavailableError(
                f"beside {first.where}: {error.message}", hint=hint
            ) from error

    def _beside(self, server: RedisServer, ask: Ask, *, is_asked: bool) -> list[Place]:
        setting = self._settings.replicas
        if setting == FOUND:
            return redis_places.beside(ask, server.where, is_first=is_asked)
        if setting != IGNORED:
            named = hosts.endpoints(setting) if is_asked else ()
            return [Place(host=one.host, port=one.port) for one in named]
        if is_asked:
            with suppress(ConsumerError):
                for one in redis_places.beside(ask, server.where, is_first=True):
                    self._remarks[
                        f"the server {one.text} beside Redis keeps the password that it has,"
                        " since redis.replicas is 'ignored'"
                    ] = None
        return []

    # ---- inside ----------------------------------------------------------------------------------

    def _check_possible(self, server: RedisServer, ask: Ask) -> None:
        """Refuse unless every step of a rotation is possible; changes nothing."""
        # without an ACL file the server would forget the change at its next start
        ask("ACL SAVE")
        if self._is_open(ask):
            raise ConsumerRefusedError(
                f"Redis at {server.where} accepts any password (nopass), so a new one could not be"
                " proved; nothing was changed",
                hint=_no_password(self._settings.user),
            )
        redis_places.check_replication(ask, server.where, self._settings.user)
        ask("CLIENT PAUSE", 0, "WRITE")
        ask("CLIENT KILL", "ID", _NO_CLIENT)

    def _set_in_all(
        self, opened: Opened, valid: tuple[SecretBytes, ...], before: tuple[SecretBytes, ...]
    ) -> None:
        """Set the valid passwords in every server; after a failure, set the passwords of before in all of them."""
        begun: list[Ask] = []
        try:
            for _, ask in opened:
                begun.append(ask)
                self._set_hashes(ask, valid)
        except ConsumerError:
            for ask in begun:
                with suppress(ConsumerError):
                    self._set_hashes(ask, before)
            raise

    def _set_hashes(self, ask: Ask, valid: tuple[SecretBytes, ...]) -> None:
        """Make exactly these passwords valid by a single atomic command, and then have the server write its ACL file."""
        hashes = ["#" + hashlib.sha256(one.reveal()).hexdigest() for one in valid]
        ask("ACL SETUSER", self._settings.user, "resetpass", *hashes)
        ask("ACL SAVE")

    def _is_open(self, ask: Ask) -> bool:
        """Whether the server accepts any password for the user; False if the user may not ask."""
        try:
            answer = ask("ACL GETUSER", self._settings.user)
        except RedisRefusedError:
            return False
        flags = answer.get("flags", ()) if isinstance(answer, dict) else ()
        return "nopass" in [one.decode() if isinstance(one, bytes) else str(one) for one in flags]

    def _end_sessions(self, ask: Ask) -> None:
        """End the user's other connections between two writes.

        CLIENT KILL drops an answer that is not sent yet. While writers are paused, no write can be done and lose its
        answer. So a request that a client sees cut off was not done, and the client may safely repeat it.
        """
        ask("CLIENT PAUSE", _PAUSE_MS, "WRITE")
        try:
            ask("CLIENT KILL", "USER", self._settings.user, "SKIPME", "yes")
        finally:
            ask("CLIENT UNPAUSE")


def _no_password(user: str) -> str:
    return f"ACL SETUSER {user} resetpass '#<SHA-256 of the configured password>': see {_HOWTO}"
