"""Decides which replicas of keystore, password and configuration keys belong to the node (findings K7, T7).

A replica is judged by whether it opens the configuration keys that the present configuration names. Keystores and
records of all folders are tried with each other, and the pair that opens all named keys is the right one, wherever it
lies. A pair whose keystore does not authenticate the records opens nothing. Of several the one with the latest
generation counts, not the one with more keys: a file from before a regeneration has more, and keys that were removed
must stay removed. Keys are compared, and not bytes, since Java may have saved a keystore anew. Nothing is repaired unless a
pair opens every named key, and a replaced file is kept beside its successor (docs/format/keystore.md 6).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from strongroom.configuration_keys import generations
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.generations import KeyRecords, UnprovedRecords
from strongroom.configuration_keys.record_files import FILE_NAME as RECORDS_NAME
from strongroom.configuration_keys.records import WrapKind
from strongroom.configuration_keys.recovery_copy import RecoveryCopy
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, KeystoreError, StrongroomError
from strongroom.keystore import pkcs12, replicas
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.replicas import KeystoreDirectory, ReplicaCondition, ReplicaState
from strongroom.system import guarded_files

_LOST_HINT = (
    "put back keystore, password and configuration keys that belong together from a copy of the data directory; or,"
    " with a recovery identity or shares, 'strongroom recover'"
)
Content = TypeVar("Content")
OpenKey = Callable[[str], SecretBytes]


class Named(NamedTuple):
    """The keys that the node names, and that its key files must contain.

    Attributes:
        installation_id: Id of the installation to which the keys belong.
        key_ids: The configuration keys that any version of the configuration, or a journal, names; empty if no replica
            proves the configuration, so that only those count which the records themselves call active or next.
        begun: Master keys and configuration keys of an unfinished regeneration, not all of which need exist yet.
        recipients: Returns the recovery recipients of the RMK, given open configuration keys.
    """

    installation_id: str
    key_ids: frozenset[str]
    begun: frozenset[str]
    recipients: Callable[[OpenKey], Sequence[str]]


class Repaired(NamedTuple):
    """The result of a repair.

    Attributes:
        written: The files that were replaced or created.
        kept: The paths under which replaced files are kept.
    """

    written: tuple[Path, ...]
    kept: tuple[Path, ...]


@dataclass(frozen=True)
class _Replica(Generic[Content]):
    """A file as it was found: its bytes and their content, or the error."""

    path: Path
    data: bytes = b""
    content: Content | None = None
    error: KeystoreError | None = None


class _Pair(NamedTuple):
    """A keystore and records, from the same or from different folders.

    Attributes:
        keystore: The file of the keystore.
        records: The file of the records.
        keys: The master keys.
        parsed: The records, proved only if a master key authenticates them.
        order: The numbers of the two folders.
        authenticated_by: The alias of the master key that authenticates the records; empty if none may.
    """

    keystore: _Replica[Keystore]
    records: _Replica[UnprovedRecords]
    keys: Keystore
    parsed: KeyRecords
    order: tuple[int, int]
    authenticated_by: str = ""

    @property
    def master_key(self) -> SecretBytes:
        """The master key that authenticates the records."""
        return self.keys.master_key(self.authenticated_by)


class _Score(NamedTuple):
    """How well a pair fits the node; the greatest score is the best.

    Named keys that open count most, then that no record is dead, then the generation. Further keys hardly count, since
    a file from before a regeneration has more of them.
    """

    named_opened: int
    begun: int
    not_dead: int
    generation: int
    has_right_recipients: bool
    folders: int
    is_read: tuple[bool, bool]
    opened: int
    entries: int
    order: tuple[int, int]


class _Best(NamedTuple):
    """The pair that fits best, and the named configuration keys that it does not open."""

    pair: _Pair
    missing: tuple[str, ...]


class KeyFiles:
    """All files that hold keys of the configuration, judged by the configuration."""

    def __init__(self, directory: KeystoreDirectory, named: Named, recovery_file: Path) -> None:
        """Take the files and the keys that they must contain.

        Args:
            directory: Keystore replicas and password.
            named: The keys that the files must contain.
            recovery_file: The copy of the configuration keys that are wrapped for recovery recipients.
        """
        self._directory = directory
        self._named = named
        self._copy = RecoveryCopy(recovery_file, named.installation_id)

    def verify(self) -> list[ReplicaState]:
        """The state of every file: keystores, records, the password, the copy for recovery."""
        keystores, records = self._keystores(), self._records()
        best = self._best(keystores, records)
        rows = [self._keystore_state(one, best) for one in keystores]
        rows += [self._records_state(one, best) for one in records]
        rows.append(self._password_state())
        return [*rows, *self._copy_states(best)]

    def repair(self) -> Repaired:
        """Give every replica the contents of the pair that opens all named keys; replaced files are kept.

        Raises:
            KeystoreError: No pair opens all named keys; nothing was changed.
            StorageError: A file cannot be kept or written; a later run continues.
        """
        self._directory.password()  # fails first with an error that names the password file
        with self._directory.changing():
            keystores, records = self._keystores(), self._records()
            best = self._best(keystores, records)
            if best is None or best.missing:
                raise self._none_fits(keystores, records, best)
            written: list[Path] = []
            kept: list[Path] = []

            def keep(path: Path) -> None:
                found = self._directory.keep(path)
                kept.extend([found] if found else [])

            def replace(paths: Sequence[Path], data: bytes) -> None:
                for path in paths:
                    keep(path)
                    self._directory.write(path, data, lambda _: None)
                    written.append(path)

            good = best.pair
            bad = [one.path for one in keystores if not _is_same(one, good.keys)]
            replace(bad, good.keystore.data)
            others = [one.path for one in records if one.content != good.records.content]
            replace(others, good.records.data)
            written += self._copy.write(good.parsed, good.master_key, keep)
            return Repaired(tuple(written), tuple(kept))

    # ---- reading ---------------------------------------------------------------------------------

    def _keystores(self) -> list[_Replica[Keystore]]:
        paths = [folder / replicas.FILE_NAME for folder in self._directory.folders]
        try:
            password = self._directory.password()
        except KeystoreError as error:
            return [_Replica(path, error=error) for path in paths]
        parsed: dict[
            bytes, Keystore
        ] = {}  # each derivation is slow, and most replicas are the same

        def parse(path: Path, data: bytes) -> Keystore:
            if data not in parsed:
                parsed[data] = self._directory.opened(path, password, data)
            return parsed[data]

        return [_read(path, pkcs12.MAX_BYTES, partial(parse, path)) for path in paths]

    def _records(self) -> list[_Replica[UnprovedRecords]]:
        paths = [folder / RECORDS_NAME for folder in self._directory.folders]
        return [_read(path, key_records.MAX_BYTES, self._parsed) for path in paths]

    def _parsed(self, data: bytes) -> UnprovedRecords:
        found = generations.parse(data, self._named.installation_id)
        if found.claimed.format != generations.FORMAT:
            # left over by an upgrade that was killed, or put there: it has no MAC, and is replaced
            raise KeystoreError(key_records.damaged("they are of an older format"))
        return found

    # ---- judging ---------------------------------------------------------------------------------

    def _best(
        self, keystores: Sequence[_Replica[Keystore]], records: Sequence[_Replica[UnprovedRecords]]
    ) -> _Best | None:
        """The pair with the best score; among equals the one in most folders, then the one in the folder that commands read."""
        found = [
            self._judged(self._authenticated(pair), _folders_with(pair, keystores, records))
            for pair in _pairs(keystores, records)
        ]
        return max(found, key=lambda item: item[0])[1] if found else None

    def _authenticated(self, pair: _Pair) -> _Pair:
        """The pair with the alias of the master key that authenticates the records; without one if none may."""
        unproved = pair.records.content
        if unproved is None:
            return pair
        with suppress(KeystoreError):
            proved = unproved.prove(pair.keys)
            # an unfinished regeneration, of which another node may have had other keys before, explains any newer key
            coming = pair.keys.newest if self._named.begun else ""
            with suppress(IntegrityError):
                generations.check_alias(proved, pair.keys, coming=coming)
                return pair._replace(authenticated_by=proved.alias)
        return pair

    def _judged(self, pair: _Pair, folders: int) -> tuple[_Score, _Best]:
        opened, dead = self._opened(pair)
        in_force = frozenset(filter(None, (pair.parsed.active, pair.parsed.next)))
        named, (left, right) = self._named.key_ids or in_force, pair.order
        score = _Score(
            len(named & opened.keys()),
            len(self._named.begun & {*pair.keys.aliases, *opened}),
            -dead,
            pair.parsed.generation,
            self._has_right_recipients(pair.parsed, opened),
            folders,
            (left == 0, right == 0),
            len(opened),
            len(pair.keys.entries),
            (-left, -right),
        )
        return score, _Best(pair, tuple(sorted(named - opened.keys())))

    @staticmethod
    def _opened(pair: _Pair) -> tuple[Mapping[str, SecretBytes], int]:
        """The configuration keys that a pair opens, and the number of records with a wrap that it cannot open, or none.

        Such a record makes `ConfigurationKeys.verify` and every rewrap fail.
        """
        opened: dict[str, SecretBytes] = {}
        dead = 0
        for record in pair.parsed.records if pair.authenticated_by else ():
            wraps = record.of_kind(WrapKind.MASTER_KEY)
            keys = [generations.unwrap(pair.parsed, record, wrap, pair.keys) for wrap in wraps]
            found = [key for key in keys if key is not None]
            if found:
                opened[record.id] = found[-1]
            dead += not found or len(found) < len(wraps)
        return opened, dead

    def _has_right_recipients(self, records: KeyRecords, opened: Mapping[str, SecretBytes]) -> bool:
        """Whether every record is wrapped for exactly the recovery recipients of the RMK; False if those are unknown."""
        try:
            wanted = set(self._named.recipients(lambda key_id: opened[key_id]))
        except (StrongroomError, KeyError):
            return False
        return all(
            {wrap.name for wrap in one.of_kind(WrapKind.RECIPIENT)} == wanted
            for one in records.records
        )

    def _none_fits(
        self,
        keystores: Sequence[_Replica[Keystore]],
        records: Sequence[_Replica[UnprovedRecords]],
        best: _Best | None,
    ) -> KeystoreError:
        """The error that no pair opens all named keys, with the reason."""
        if best is None:
            is_keystore = all(one.content is None for one in keystores)
            found: Sequence[_Replica[Any]] = keystores if is_keystore else records
            what = "keystore" if is_keystore else "configuration-key records"
            why = "; ".join(dict.fromkeys(one.error.message for one in found if one.error))
            sentence = f"no replica of the {what} can be used; nothing was changed: {why}"
            return KeystoreError(sentence, hint=_LOST_HINT)
        missing = ", ".join(best.missing)
        sentence = (
            f"no replica of the keystore opens the configuration key {missing}, which the configuration names;"
            " nothing was changed"
        )
        renamed = next(self._renamed(keystores, records, best.missing), None)
        if renamed is None:
            return KeystoreError(sentence, hint=_LOST_HINT)
        path, alias, wanted = renamed
        return KeystoreError(
            f"{sentence}; the key is in {path}, under the alias {alias!r} instead of {wanted!r}",
            hint=f"run 'keytool -changealias -keystore {path} -storepass:file {self._directory.password_file}"
            f" -alias {alias} -destalias {wanted}', then 'chmod 0600 {path}' and 'tsm security keystore repair'",
        )

    def _renamed(
        self,
        keystores: Sequence[_Replica[Keystore]],
        records: Sequence[_Replica[UnprovedRecords]],
        missing: Sequence[str],
    ) -> Iterator[tuple[Path, str, str]]:
        """Master keys that open a wrap under another alias than the wrap names: path, alias, and the alias that is needed."""
        for pair in _pairs(keystores, records):
            for record in pair.parsed.records:
                for wrap in record.of_kind(WrapKind.MASTER_KEY) if record.id in missing else ():
                    for entry in pair.keys.entries:
                        if generations.unwrap_by(pair.parsed, record, wrap, entry.key) is not None:
                            yield pair.keystore.path, entry.alias, wrap.name

    # ---- telling ---------------------------------------------------------------------------------

    @staticmethod
    def _keystore_state(replica: _Replica[Keystore], best: _Best | None) -> ReplicaState:
        if replica.content is None:
            return _failed(replica)
        if best is None or best.missing:
            return _unfit(replica.path, best, "no configuration-key records can be used with it")
        difference = replica.content.difference(best.pair.keys)
        return _compared(replica.path, best.pair.keystore.path, difference)

    @staticmethod
    def _records_state(replica: _Replica[UnprovedRecords], best: _Best | None) -> ReplicaState:
        if replica.content is None:
            return _failed(replica)
        if best is None or best.missing:
            return _unfit(replica.path, best, "no keystore can be used with them")
        is_same = replica.content == best.pair.records.content
        difference = "" if is_same else "its keys, wraps or generation are others"
        return _compared(replica.path, best.pair.records.path, difference)

    def _password_state(self) -> ReplicaState:
        path = self._directory.password_file
        try:
            self._directory.password()
        except KeystoreError as error:
            is_missing = isinstance(error.__cause__, guarded_files.MissingFileError)
            condition = ReplicaCondition.MISSING if is_missing else ReplicaCondition.UNUSABLE
            return ReplicaState(path, condition, f"{error.message}; {error.hint}".rstrip("; "))
        return ReplicaState(path, ReplicaCondition.INTACT)

    def _copy_states(self, best: _Best | None) -> list[ReplicaState]:
        """The state of the copy for recovery, if there is one or should be; else empty."""
        if best is None or best.missing:
            return []
        why = self._copy.difference(best.pair.parsed, best.pair.master_key)
        if not why:
            is_there = self._copy.is_there
            return [ReplicaState(self._copy.path, ReplicaCondition.INTACT)] if is_there else []
        condition = ReplicaCondition.DIFFERENT if self._copy.is_there else ReplicaCondition.MISSING
        return [ReplicaState(self._copy.path, condition, why)]


def _read(path: Path, limit: int, parse: Callable[[bytes], Content]) -> _Replica[Content]:
    try:
        data = guarded_files.read(path, limit)
        return _Replica(path, data, parse(data))
    except KeystoreError as error:
        return _Replica(path, error=error)


def _pairs(
    keystores: Sequence[_Replica[Keystore]], records: Sequence[_Replica[UnprovedRecords]]
) -> Iterator[_Pair]:
    """The pairs of keystores and records to try, each distinct content once."""
    for left, keystore in _distinct(keystores):
        for right, found in _distinct(records):
            if keystore.content is not None and found.content is not None:
                parsed = found.content.claimed
                yield _Pair(keystore, found, keystore.content, parsed, (left, right))


def _distinct(found: Sequence[_Replica[Content]]) -> list[tuple[int, _Replica[Content]]]:
    first: dict[bytes, tuple[int, _Replica[Content]]] = {}
    for at, one in enumerate(found):
        if one.content is not None:
            first.setdefault(one.data, (at, one))
    return list(first.values())


def _folders_with(
    pair: _Pair,
    keystores: Sequence[_Replica[Keystore]],
    records: Sequence[_Replica[UnprovedRecords]],
) -> int:
    """How many files have the same content as the pair."""
    same = sum(_is_same(one, pair.keys) for one in keystores)
    return same + sum(one.content == pair.records.content for one in records)


def _is_same(replica: _Replica[Keystore], keys: Keystore) -> bool:
    return replica.content is not None and not replica.content.difference(keys)


def _failed(replica: _Replica[Any]) -> ReplicaState:
    is_missing = isinstance(replica.error, guarded_files.MissingFileError)
    condition = ReplicaCondition.MISSING if is_missing else ReplicaCondition.UNUSABLE
    return ReplicaState(replica.path, condition, replica.error.message if replica.error else "")


def _unfit(path: Path, best: _Best | None, alone: str) -> ReplicaState:
    why = alone
    if best is not None:
        why = f"no keystore opens the configuration key {', '.join(best.missing)}"
    return ReplicaState(path, ReplicaCondition.UNUSABLE, why)


def _compared(path: Path, good: Path, difference: str) -> ReplicaState:
    if not difference:
        return ReplicaState(path, ReplicaCondition.INTACT)
    sentence = f"{difference}; {good} opens what the configuration names"
    return ReplicaState(path, ReplicaCondition.DIFFERENT, sentence)
