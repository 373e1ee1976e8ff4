"""What secrets there are, how old they are, who saw them, and where forms of them lie (P15, P16).

It opens no secret but certificates, which are public, and shows none.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from strongroom.clock import Clock, format_utc, parse_utc
from strongroom.config.rotation import RotationRecord
from strongroom.consumers.base import Consumer, SecretCopy, file_copy
from strongroom.errors import StrongroomError
from strongroom.eventlog import events
from strongroom.secrets import catalog, policy
from strongroom.services.configuration import ConfigurationService

POLICY = "secrets.policy"
_BEFORE_THE_END = timedelta(days=30)
"""So early is a certificate due, without any policy: nobody is on holiday for longer (P12)."""
_CERTIFICATES = frozenset(
    name for name, one in catalog.SECRETS.items() if one.kind is catalog.SecretKind.CERTIFICATE
)


class SecretAge(NamedTuple):
    """One secret parameter.

    Attributes:
        name: Its name.
        origin: `generated` or `admin`.
        consumer: Who uses it: the configured component, else what the registry says.
        is_set: Whether it has a value.
        changed_at: Since when it has this value; empty if that is not known.
        rotated_at: When it was last rotated; empty: never.
        revealed_at: When its value was last shown; empty: never.
        age_days: Whole days since `changed_at`; None if that is not known.
        ends_at: When its certificate ends; empty if it is none.
        due_at: When its policy wants a new value or it ends, whichever is first; empty if neither is known.
        due: Whether its policy wants a new value now, or it ends within 30 days.
    """

    name: str
    origin: str
    consumer: str
    is_set: bool
    changed_at: str
    rotated_at: str
    revealed_at: str
    age_days: int | None
    ends_at: str
    due_at: str
    due: bool


class Ending(NamedTuple):
    """A certificate that ends soon, or has ended.

    Attributes:
        name: Its parameter.
        origin: `generated` or `admin`.
        ends_at: When.
    """

    name: str
    origin: str
    ends_at: str


class Place(NamedTuple):
    """One place that holds a form of secrets.

    Attributes:
        parameters: Whose; `*` stands for all.
        path: File, or where a component keeps it.
        form: `encrypted`, `wrapped keys`, `password of the keystore`; of a component `plaintext`, `hash`,
            `verifier`, `public`.
        mode: Permission bits; empty if it is no file, or is not there.
        owner: Whose file.
        warning: What is wrong with it; mostly empty.
    """

    parameters: tuple[str, ...]
    path: str
    form: str
    mode: str
    owner: str
    warning: str


class OwnPlaces(NamedTuple):
    """Where this node keeps forms of its secrets.

    Attributes:
        encrypted: Files with `ENC(...)` values.
        keystores: Replicas of the keystore and of the configuration keys.
        password: The keystore's password.
    """

    encrypted: tuple[Path, ...]
    keystores: tuple[Path, ...]
    password: Path


class _Seen(NamedTuple):
    changed: dict[str, str]
    revealed: dict[str, str]


class Sources(NamedTuple):
    """Where the inventory learns what the configuration does not say.

    Attributes:
        records: When each secret was last rotated.
        history: The records of the event log, its archived parts included.
        consumers: The configured components.
    """

    records: Callable[[], Mapping[str, RotationRecord]]
    history: Callable[[], Iterable[Mapping[str, object]]]
    consumers: Callable[[], Sequence[Consumer]]


class SecretInventory:
    """Lists secrets and the places where they lie."""

    def __init__(
        self,
        configuration: ConfigurationService,
        sources: Sources,
        places: OwnPlaces,
        clock: Clock,
    ) -> None:
        self._configuration = configuration
        self._sources = sources
        self._places = places
        self._clock = clock

    def list(self) -> tuple[SecretAge, ...]:
        """Every secret parameter: the registered ones, and others that are set."""
        values = self._configuration.document().values
        names = {*catalog.SECRETS, *(name for name in values if catalog.is_secret(name))}
        seen, records = self._seen(), self._sources.records()
        rules = policy.parse(self._configuration.effective(POLICY) or "")
        users = {
            name: one.id
            for one in (consumer.describe() for consumer in self._sources.consumers())
            for name in one.parameters
        }
        ends = self._ends(values)
        now = self._clock.now()
        found = []
        for name in sorted(names):
            known, is_set = catalog.SECRETS.get(name), name in values
            rotated = records[name].at if name in records else ""
            changed = max(seen.changed.get(name, ""), rotated) if is_set else ""
            # keys have their own rotation: 'kms rotate', 'regenerate-internal-tokens'
            days = None if catalog.is_key_hierarchy(name) else policy.max_age_days(rules, name)
            outgrown, end = _outgrown_at(changed, days), ends.get(name, "")
            found.append(
                SecretAge(
                    name=name,
                    origin=_origin(name),
                    consumer=users.get(name) or (known.consumer if known else ""),
                    is_set=is_set,
                    changed_at=changed,
                    rotated_at=rotated,
                    revealed_at=seen.revealed.get(name, ""),
                    age_days=(now - parse_utc(changed)).days if changed else None,
                    ends_at=end,
                    due_at=min((one for one in (outgrown, end) if one), default=""),
                    due=_has_come(outgrown, now) or _has_come(end, now + _BEFORE_THE_END),
                )
            )
        return tuple(found)

    def due(self) -> tuple[SecretAge, ...]:
        """The secrets whose policy wants a new value, and certificates that end soon."""
        return tuple(one for one in self.list() if one.due)

    def ending(self) -> tuple[Ending, ...]:
        """The certificates that end soon, by a look at them alone (P12)."""
        now, ends = self._clock.now(), self._ends(self._configuration.document().values)
        return tuple(
            Ending(name, _origin(name), end)
            for name, end in sorted(ends.items())
            if _has_come(end, now + _BEFORE_THE_END)
        )

    def places(self) -> tuple[Place, ...]:
        """Every place that holds a form of a secret: our own files, and what the consumers keep."""
        forms = {
            "encrypted": self._places.encrypted,
            "wrapped keys": self._places.keystores,
            "password of the keystore": (self._places.password,),
        }
        own = [_own(path, form) for form, paths in forms.items() for path in paths]
        copies = [one for consumer in self._sources.consumers() for one in consumer.copies()]
        return (*own, *(_place(one) for one in copies))

    def _ends(self, values: Mapping[str, str]) -> dict[str, str]:
        """When each certificate ends that can be read; whoever needs another one says what is wrong with it."""
        from strongroom.crypto import certificates

        ends = {}
        for name in values.keys() & _CERTIFICATES:
            with suppress(StrongroomError):
                pem = self._configuration.open_secret(name).reveal()
                ends[name] = format_utc(certificates.ends_at(pem))
        return ends

    def _seen(self) -> _Seen:
        """Changes and readings, of the event log with its archived parts."""
        seen = _Seen({}, {})
        for record in self._sources.history():
            details, time = record["details"], str(record["time"])
            if not isinstance(details, dict):
                continue
            if record["id"] == events.SECRET_ENCRYPTED:
                # the first one is its first value; later ones may be another key's for the same value
                seen.changed.setdefault(str(details["parameter"]), time)
            elif record["id"] == events.CONFIGURATION_APPLIED:
                seen.changed.update(dict.fromkeys(str(details.get("secrets", "")).split(), time))
            elif record["id"] == events.SECRET_REVEALED:
                seen.revealed[str(details["parameter"])] = time
        return seen


def _origin(name: str) -> str:
    known = catalog.SECRETS.get(name)
    return (known.origin if known else catalog.SecretOrigin.ADMIN).value


def _outgrown_at(changed: str, days: int | None) -> str:
    if days is None or not changed:
        return ""
    return format_utc(parse_utc(changed) + timedelta(days=days))


def _has_come(time: str, now: datetime) -> bool:
    return bool(time) and parse_utc(time) <= now


def _own(path: Path, form: str) -> Place:
    # the form that the port knows does not matter here: only mode and owner are taken
    found = file_copy(("*",), path, "verifier")
    return Place(("*",), found.path, form, found.mode, found.owner, _warning(found.mode))


def _place(copy: SecretCopy) -> Place:
    warning = "" if copy.form == "public" else _warning(copy.mode)
    return Place(copy.parameters, copy.path, copy.form, copy.mode, copy.owner, warning)


def _warning(mode: str) -> str:
    bits = int(mode or "0", 8)
    if bits & 0o007:
        return "every user of this machine may open it"
    if bits & 0o020:
        return "its group may change it"
    return ""
