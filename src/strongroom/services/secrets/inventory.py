"""Lists secret parameters with their age and last reading, and the places where forms of them are stored (P15, P16).

No secret is opened but certificates, which are public, and no value is returned.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from strongroom.clock import Clock, format_utc, is_future, parse_utc
from strongroom.config.rotation import RotationRecord
from strongroom.consumers.base import Consumer, SecretCopy, file_copy
from strongroom.errors import StrongroomError
from strongroom.eventlog.summary import SecretTimes
from strongroom.secrets import catalog, policy
from strongroom.services.configuration.present import PresentConfiguration

POLICY = "secrets.policy"
_BEFORE_THE_END = timedelta(days=30)
"""How long before its end a certificate is due, without any policy: longer than most holidays (P12)."""
_CERTIFICATES = frozenset(
    name for name, one in catalog.SECRETS.items() if one.kind is catalog.SecretKind.CERTIFICATE
)


class SecretAge(NamedTuple):
    """The age of one secret parameter, and when a new value is due.

    Attributes:
        name: Name of the parameter.
        origin: `generated` or `admin`.
        consumer: The component that uses the secret: the configured one, else the one that the catalogue names.
        is_set: Whether the parameter has a value.
        changed_at: When the present value was set; empty if unknown.
        rotated_at: When the secret was last rotated; empty if never.
        revealed_at: When the value was last shown; empty if never.
        age_days: Whole days since `changed_at`; None if that is unknown.
        ends_at: When the certificate ends; empty for a secret that is no certificate.
        due_at: The day on which the policy wants a new value or the certificate ends, the earlier; empty if unknown.
        due: Whether the policy wants a new value now, or the certificate ends within 30 days.
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

    @classmethod
    def of(cls, name: str, known: "Known", now: datetime) -> "SecretAge":
        """The age of a secret at a moment, and whether a new value is due; pure.

        A recorded time in the future was written by a clock that was ahead, and is worthless: the age is then unknown,
        and a secret with a policy is due until the age is known again (findings K23).
        """
        times = [one for one in (known.changed, known.rotated) if one and known.is_set]
        past = [one for one in times if not is_future(parse_utc(one), now)]
        changed = max(past, default="")
        outgrown = _outgrown_at(changed, known.max_age_days)
        if times and not past and known.max_age_days is not None:
            outgrown = format_utc(now)
        return cls(
            name=name,
            origin=_origin(name),
            consumer=known.consumer,
            is_set=known.is_set,
            changed_at=changed,
            rotated_at=known.rotated,
            revealed_at=known.revealed,
            age_days=(now - parse_utc(changed)).days if changed else None,
            ends_at=known.ends,
            due_at=min((one for one in (outgrown, known.ends) if one), default=""),
            due=_has_come(outgrown, now) or _has_come(known.ends, now + _BEFORE_THE_END),
        )


class Known(NamedTuple):
    """Facts about a secret parameter, from all sources; every time is a text in UTC, empty if unknown.

    Attributes:
        is_set: Whether the parameter has a value.
        consumer: The component that uses the secret.
        changed: When the event log recorded the last change.
        rotated: When the secret was last rotated.
        revealed: When the value was last shown.
        ends: When the certificate ends.
        max_age_days: After how many days the policy wants a new value; None without a policy, and for keys of the
            hierarchy, which have a rotation of their own.
    """

    is_set: bool
    consumer: str
    changed: str = ""
    rotated: str = ""
    revealed: str = ""
    ends: str = ""
    max_age_days: int | None = None


class Ending(NamedTuple):
    """A certificate that ends soon, or has ended.

    Attributes:
        name: The parameter that holds the certificate.
        origin: `generated` or `admin`.
        ends_at: When the certificate ends.
    """

    name: str
    origin: str
    ends_at: str


class Place(NamedTuple):
    """A place that holds a form of secrets.

    Attributes:
        parameters: The parameters whose secrets lie there; `*` stands for all.
        path: The file, or the place inside a component.
        form: `encrypted`, `wrapped keys`, `password of the keystore`; of a component `plaintext`, `hash`,
            `verifier`, `public`.
        mode: Permission bits; empty if the place is no file, or the file does not exist.
        owner: The user who owns the file.
        warning: A sentence if too many users may open or change the file; empty otherwise.
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


class Sources(NamedTuple):
    """The sources of facts that the configuration does not hold.

    Attributes:
        records: Returns when each secret was last rotated.
        seen: Returns when each secret was changed and shown, by the event log with its archived parts.
        consumers: Returns the configured components.
    """

    records: Callable[[], Mapping[str, RotationRecord]]
    seen: Callable[[], SecretTimes]
    consumers: Callable[[], Sequence[Consumer]]


class SecretInventory:
    """Lists secrets and the places where they lie."""

    def __init__(
        self,
        configuration: PresentConfiguration,
        sources: Sources,
        places: OwnPlaces,
        clock: Clock,
    ) -> None:
        self._configuration = configuration
        self._sources = sources
        self._places = places
        self._clock = clock

    def list(self) -> tuple[SecretAge, ...]:
        """Every secret parameter: those of the catalogue, and others that are set."""
        values = self._configuration.document().values
        names = {*catalog.SECRETS, *(name for name in values if catalog.is_secret(name))}
        seen, records = self._sources.seen(), self._sources.records()
        rules = policy.parse(self._configuration.effective(POLICY) or "")
        users = {
            name: one.id
            for one in (consumer.describe() for consumer in self._sources.consumers())
            for name in one.parameters
        }
        ends, now = self._ends(values), self._clock.now()

        def known(name: str) -> Known:
            registered = catalog.SECRETS.get(name)
            # keys have their own rotation: 'kms rotate', 'regenerate-internal-tokens'
            is_key = catalog.is_key_hierarchy(name)
            return Known(
                is_set=name in values,
                consumer=users.get(name) or (registered.consumer if registered else ""),
                changed=seen.changed.get(name, ""),
                rotated=records[name].at if name in records else "",
                revealed=seen.revealed.get(name, ""),
                ends=ends.get(name, ""),
                max_age_days=None if is_key else policy.max_age_days(rules, name),
            )

        return tuple(SecretAge.of(name, known(name), now) for name in sorted(names))

    def due(self) -> tuple[SecretAge, ...]:
        """The secrets whose policy wants a new value, and certificates that end soon."""
        return tuple(one for one in self.list() if one.due)

    def ending(self) -> tuple[Ending, ...]:
        """The certificates that end soon; reads certificates only, not the event log, so that `status` is quick (P12)."""
        now, ends = self._clock.now(), self._ends(self._configuration.document().values)
        return tuple(
            Ending(name, _origin(name), end)
            for name, end in sorted(ends.items())
            if _has_come(end, now + _BEFORE_THE_END)
        )

    def places(self) -> tuple[Place, ...]:
        """Every place that holds a form of a secret: our own files, and the copies that components keep."""
        forms = {
            "encrypted": self._places.encrypted,
            "wrapped keys": self._places.keystores,
            "password of the keystore": (self._places.password,),
        }
        own = [_own(path, form) for form, paths in forms.items() for path in paths]
        copies = [one for consumer in self._sources.consumers() for one in consumer.copies()]
        return (*own, *(_place(one) for one in copies))

    def _ends(self, values: Mapping[str, str]) -> dict[str, str]:
        """When each readable certificate ends; an unreadable one is left out, and refused where it is used."""
        from strongroom.crypto import certificates

        ends = {}
        for name in values.keys() & _CERTIFICATES:
            with suppress(StrongroomError):
                pem = self._configuration.open_secret(name).reveal()
                ends[name] = format_utc(certificates.ends_at(pem))
        return ends


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
    # `file_copy` wants the form of a component's copy; any will do, since only mode and owner are used
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
