"""The caller of a use case, and how its event is recorded."""

from collections.abc import Callable
from dataclasses import dataclass, field

from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import service_key_events

Record = Callable[[Event], None]


@dataclass(frozen=True)
class By:
    """The caller of a use case. Each use case records exactly one event, if it does not raise.

    Attributes:
        actor: `os:NAME`, or `service:NAME` for a program with a token.
        accessor: The accessor of the token; empty without one.
        record: Takes the event of a change, within its transaction: synced when this returns.
        note: Takes the event of what changes nothing; the door has it synced, with those of others, before it answers.
    """

    actor: str
    accessor: str = ""
    record: Record = field(default=lambda _: None, repr=False)
    note: Record = field(default=lambda _: None, repr=False)

    @classmethod
    def local(cls, actor: str, log: EventLog) -> "By":
        """A command of whoever owns the data directory."""

        def now(event: Event) -> None:
            log.append([event])

        return cls(actor, "", now, now)

    def key_changed(self, key: str, operation: str, version: int) -> None:
        """A service key was changed."""
        self.record(
            service_key_events.service_key_changed(
                self.actor, key, operation, version=version, accessor=self.accessor
            )
        )

    def key_used(self, key: str, operation: str, version: int = 0, count: int = 1) -> None:
        """A service key was used, or looked at."""
        self.note(
            service_key_events.service_key_used(
                self.actor, key, operation, version=version, count=count, accessor=self.accessor
            )
        )

    def secret_changed(self, path: str, operation: str, version: int = 0) -> None:
        """A secret was changed."""
        self.record(
            service_key_events.service_secret_changed(
                self.actor, path, operation, version=version, accessor=self.accessor
            )
        )

    def secret_read(self, path: str, operation: str, version: int = 0) -> None:
        """A secret was read."""
        self.note(
            service_key_events.service_secret_read(
                self.actor, path, operation, version=version, accessor=self.accessor
            )
        )

    def access_changed(self, what: str, operation: str) -> None:
        """A token, role, policy or mount was changed."""
        self.record(
            service_key_events.service_access_changed(
                self.actor, what, operation, accessor=self.accessor
            )
        )

    def access_read(self, what: str, operation: str) -> None:
        """A token, role, policy or mount was looked at."""
        self.note(
            service_key_events.service_access_read(
                self.actor, what, operation, accessor=self.accessor
            )
        )
