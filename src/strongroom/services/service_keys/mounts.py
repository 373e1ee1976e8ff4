"""The paths under which service keys and secrets lie; three are there from the start."""

from collections.abc import Sequence

from strongroom.clock import Clock, format_utc
from strongroom.errors import ConflictError, NotFoundError, UsageError
from strongroom.ids import new_id
from strongroom.repository.service_rows import ServiceMountRow
from strongroom.repository.unit_of_work import Repository
from strongroom.service_keys.model import NAME
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.present import Present

TRANSIT, KV_1, KV_2, APPROLE = "transit", "kv-v1", "kv-v2", "approle"
AUTH = "auth/"
"""How the paths of sign-ins begin."""
_EPOCH = "1970-01-01T00:00:00Z"
BUILT_IN = (
    ServiceMountRow(
        "auth/approle", "00000000-0000-4000-8000-617070726f6c", APPROLE, "roles of services", _EPOCH
    ),
    ServiceMountRow(
        "kv", "00000000-0000-4000-8000-000000006b76", KV_1, "secrets without versions", _EPOCH
    ),
    ServiceMountRow(
        "secret", "00000000-0000-4000-8000-736563726574", KV_2, "secrets with versions", _EPOCH
    ),
    ServiceMountRow(
        "transit", "00000000-0000-4000-8000-7472616e7369", TRANSIT, "service keys", _EPOCH
    ),
)
"""The mounts that every installation has, with the same ids everywhere, so that a backup opens elsewhere."""
_BY_PATH = {mount.path: mount for mount in BUILT_IN}
OWN_TRANSIT = _BY_PATH["transit"]
_TAKEN = frozenset({"sys", "auth", "cubbyhole", "identity"})
MAX_SEGMENTS = 4


class MountsService:
    """The use cases of mounts."""

    def __init__(self, repository: Repository, present: Present, clock: Clock) -> None:
        self._repository = repository
        self._present = present
        self._clock = clock

    def find(self, path: str) -> tuple[ServiceMountRow, str]:
        """The mount below which a path lies, and the rest of the path.

        Raises:
            NotFoundError: No mount is there.
        """
        parts = path.split("/")
        heads = ["/".join(parts[:length]) for length in range(1, min(len(parts), MAX_SEGMENTS) + 1)]
        for length, head in enumerate(heads, 1):
            if head in _BY_PATH:
                return _BY_PATH[head], "/".join(parts[length:])
        rows = self._present.get(("mounts",), lambda tx: tx.service_mounts.list())
        others = {row.path: row for row in rows}
        for length, head in enumerate(heads, 1):
            if head in others:
                return others[head], "/".join(parts[length:])
        raise NotFoundError(f"no handler for route {path[:128]!r}", about="mount")

    def list(self, by: By) -> Sequence[ServiceMountRow]:
        """All mounts, by path."""
        found = self._all()
        by.access_read("sys/mounts", "list")
        return found

    def read(self, by: By, path: str) -> ServiceMountRow:
        """Give a mount.

        Raises:
            NotFoundError: No mount is at that path.
        """
        for mount in self._all():
            if mount.path == path:
                by.access_read(f"sys/mounts/{path}", "read")
                return mount
        raise NotFoundError(f"there is no mount {path[:128]!r}", about="mount")

    def enable(
        self, by: By, path: str, kind: str, description: str, options: dict[str, object]
    ) -> None:
        """Make a mount.

        Raises:
            UsageError: The path or kind is not possible.
            ConflictError: A mount is there, above it or below it.
        """
        parts = path.split("/")
        if len(parts) > MAX_SEGMENTS or not all(NAME.fullmatch(one) for one in parts):
            raise UsageError(f"no path of a mount: {path[:60]!r}")
        is_sign_in = kind == APPROLE and parts[0] == "auth" and len(parts) > 1
        if (parts[0] in _TAKEN and not is_sign_in) or parts[:2] == ["auth", "token"]:
            raise UsageError(f"the path {path[:60]!r} is taken")
        now = format_utc(self._clock.now())
        with self._repository.transaction() as tx:
            for other in (*BUILT_IN, *tx.service_mounts.list()):
                if f"{path}/".startswith(f"{other.path}/") or f"{other.path}/".startswith(
                    f"{path}/"
                ):
                    raise ConflictError(f"path is already in use at {other.path}/")
            row = ServiceMountRow(path, new_id(), kind, description[:1000], now, options)
            tx.service_mounts.insert(row)
            by.access_changed(f"sys/mounts/{path}", f"enable {kind}")

    def change(self, by: By, path: str, **options: object) -> None:
        """Change options of a mount.

        Raises:
            NotFoundError: No mount is at that path, or one that is there from the start, whose options stay.
        """
        with self._repository.transaction() as tx:
            row = tx.service_mounts.find(path)
            if row is None:
                raise NotFoundError(f"there is no mount {path[:128]!r} of yours", about="mount")
            tx.service_mounts.update(path, options={**row.options, **options})
            by.access_changed(f"sys/mounts/{path}", "change")

    def disable(self, by: By, path: str) -> None:
        """Remove a mount with all keys and secrets below it, for good; one that does not exist is removed already.

        Raises:
            UsageError: The mount is there from the start.
        """
        if path in _BY_PATH:
            raise UsageError(f"the mount {path!r} stays: it is there from the start")
        with self._repository.transaction() as tx:
            row = tx.service_mounts.find(path)
            if row is not None:
                for key in tx.service_keys.list(row.id):
                    tx.service_keys.delete(key.id)
                tx.service_secrets.remove(row.id)
                for role in tx.service_roles.list(f"{path}/"):
                    tx.service_roles.delete(role.name)
                tx.service_mounts.delete(path)
            by.access_changed(f"sys/mounts/{path}", "disable")

    def _all(self) -> Sequence[ServiceMountRow]:
        with self._repository.reading() as tx:
            rows = [*BUILT_IN, *tx.service_mounts.list()]
        return sorted(rows, key=lambda row: row.path)
