"""Whether a backup's rows can be read here, and its extracts opened by its keys."""

from strongroom.backup.open_backup import ExaminedRows, OpenBackup, OpenKeys
from strongroom.errors import StateError
from strongroom.repository.portable import READABLE
from strongroom.repository.revision import REVISION


def check_schema(backup: OpenBackup) -> None:
    """Refuse rows of a schema that this program cannot read (3.4).

    Raises:
        StateError: The backup has such a schema.
    """
    if backup.manifest.schema not in READABLE:
        raise StateError(
            f"the backup has schema {backup.manifest.schema}, this program has {REVISION}",
            hint=f"restore it with version {backup.manifest.program} of strongroom",
        )


def unreadable(backup: OpenBackup, found: ExaminedRows, keys: OpenKeys | None) -> dict[str, str]:
    """The content whose extract these keys do not open, by its id, with the reason."""
    problems = {}
    for row in (*found.extracts.values(), *found.pinned.values()):
        if keys is None:
            if row["file_id"]:
                problems[row["id"]] = f"MEK {row['mek_id']} is not available"
        elif error := backup.problem(row, keys.ring):
            problems[row["id"]] = error.with_hint
    return problems
