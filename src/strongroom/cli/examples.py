"""For each command one line as one would type it, and the page that explains what it is for; shown by `--help` (findings D9).

Those of roots are told by their kinds. A test parses every example by the command's own parser, and looks for the page
under `docs/howto/`.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from strongroom.roots import registry


class Example(NamedTuple):
    """A command line without its tool and verbs, and a page of `docs/howto/`."""

    words: str
    page: str


_ROOT: Final = "roots-troubleshooting"
_ADD: Final = "tsm security kms roots add "
_DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_MODE: Final = "tsm security kms set-mode "

_EXAMPLES: Final[Mapping[str, Example]] = {
    name: Example(words, page)
    for name, words, page in (
        ("initialize-tsm", "-b node2.age --identity node-key.txt -d node2", "add-a-node"),
        ("strongroom access approle create", "web --policy app", "vault-wire"),
        ("strongroom access policy delete", "app", "vault-wire"),
        ("strongroom access policy list", "", "vault-wire"),
        ("strongroom access policy show", "app", "vault-wire"),
        ("strongroom access policy write", "app app.hcl", "vault-wire"),
        ("strongroom access token create", "--policy app --ttl 30d", "vault-wire"),
        ("strongroom access token list", "", "vault-wire"),
        ("strongroom access token revoke", "ACCESSOR", "vault-wire"),
        ("strongroom anchor accept", "--reason 'restored from the copy of Monday'", "event-log"),
        ("strongroom anchor verify", "", "event-log"),
        ("strongroom backup make", "-f nightly -d --recipient age1…", "backup-and-restore"),
        ("strongroom backup pins list", "", "object-store"),
        ("strongroom backup pins release", "$BACKUP_ID", "object-store"),
        ("strongroom backup restore", "-f nightly --identity backup.key", "backup-and-restore"),
        ("strongroom backup verify", "nightly --drill --identity backup.key", "backup-and-restore"),
        ("strongroom decrypt", "flights.sealed flights.hyper", "encrypt-files"),
        ("strongroom encrypt", "flights.hyper flights.sealed", "encrypt-files"),
        ("strongroom cluster list-certificates", "--pem", "cluster"),
        ("strongroom cluster check", "", "cluster"),
        (
            "strongroom cluster enable",
            "--zookeeper zk1.example:2281 --postgres 'host=db.example dbname=x user=x' --dry-run",
            "cluster",
        ),
        ("strongroom cluster renew", "--offline", "cluster"),
        ("strongroom cluster rotate-password", "postgres", "cluster"),
        ("strongroom cluster set-password", "zookeeper --password-file new-password", "cluster"),
        ("strongroom cluster status", "--json", "cluster"),
        ("strongroom events acknowledge", "--reason 'the power failed'", "event-log"),
        ("strongroom events archive", "--reason 'end of the year'", "event-log"),
        ("strongroom events checkpoint", "", "event-log"),
        ("strongroom events list", "--id KEY_GENERATED", "event-log"),
        ("strongroom events verify", "--checkpoint kept.checkpoint", "event-log"),
        ("strongroom extracts decrypt", "--site Sales --wait", "publish"),
        ("strongroom extracts encrypt", "--site Sales --wait", "publish"),
        ("strongroom extracts list", "--site Sales", "publish"),
        ("strongroom extracts move", "--to disk --dry-run", "object-store"),
        ("strongroom extracts reencrypt", "--site Sales --wait", "rotate-and-prove"),
        ("strongroom extracts rewrap", "--site Sales --wait", "rotate-and-prove"),
        ("strongroom extracts store", "", "object-store"),
        ("strongroom init", "--admin admin --recovery-shares 2/3 --recovery-dir kit", "first-node"),
        ("strongroom inspect", "flights.sealed", "encrypt-files"),
        ("strongroom jobs cancel", "ID", "rotate-and-prove"),
        ("strongroom jobs list", "--site Sales", "rotate-and-prove"),
        ("strongroom jobs show", "ID", "rotate-and-prove"),
        ("strongroom jobs wait", "ID --timeout 600", "rotate-and-prove"),
        ("strongroom keys cancel-deletion", "orders", "vault-wire"),
        ("strongroom keys create", "orders --kind aes256-gcm", "vault-wire"),
        ("strongroom keys disable", "orders", "vault-wire"),
        ("strongroom keys enable", "orders", "vault-wire"),
        ("strongroom keys list", "", "vault-wire"),
        ("strongroom keys reseal", "", "vault-wire"),
        ("strongroom keys rotate", "orders", "vault-wire"),
        ("strongroom keys schedule-deletion", "orders --days 30", "vault-wire"),
        ("strongroom keys show", "orders", "vault-wire"),
        ("strongroom parquet rotate", "data --dry-run", "parquet"),
        ("strongroom run", "--secret DB_PASSWORD=secret/app/db#password -- printenv", "run"),
        ("strongroom recover", "--share share-1.txt --share share-2.txt --drill", "recovery"),
        ("strongroom rewrap", "flights.sealed", "encrypt-files"),
        ("strongroom serve", "--host 127.0.0.1 --port 8080", "first-node"),
        ("strongroom sites create", "Sales --mode enforced", "publish"),
        ("strongroom sites default-mode", "enforced", "publish"),
        ("strongroom sites delete", "Sales", "publish"),
        ("strongroom sites list", "", "publish"),
        ("strongroom sites set-mode", "Sales enforced", "publish"),
        ("strongroom status", "--verbose", "watch"),
        ("strongroom tokens create", "nightly --user ann --days 90", "users"),
        ("strongroom tokens list", "--user ann", "users"),
        ("strongroom tokens revoke", "nightly --user ann", "users"),
        ("strongroom upgrade", "--dry-run", "upgrade"),
        ("strongroom users create", "ann --site Sales --role Creator", "users"),
        ("strongroom users delete", "ann --give-to admin", "users"),
        ("strongroom users list", "--site Sales", "users"),
        ("strongroom users set-password", "ann", "users"),
        ("strongroom users set-role", "ann Viewer --site Sales", "users"),
        ("strongroom users unlock", "ann", "users"),
        ("strongroom verify", "flights.sealed", "encrypt-files"),
        ("strongroom version", "", "upgrade"),
        ("tsm configuration get", "-k pgsql.adminpassword --reveal-key-material", "manage-secrets"),
        ("tsm configuration list", "--json", "manage-secrets"),
        ("tsm configuration list-dynamic-keys", "", "manage-secrets"),
        ("tsm configuration set", "-k redis.password --value-file new-password", "manage-secrets"),
        ("tsm jobs cancel", "ID", "rotate-and-prove"),
        ("tsm jobs list", "--site Sales", "rotate-and-prove"),
        ("tsm jobs show", "ID", "rotate-and-prove"),
        ("tsm jobs wait", "ID --timeout 600", "rotate-and-prove"),
        ("tsm login", "", "first-node"),
        ("tsm logout", "", "first-node"),
        ("tsm maintenance backup", "-f nightly -d --recipient age1…", "backup-and-restore"),
        ("tsm maintenance cleanup", "", "watch"),
        ("tsm maintenance enter", "--reason 'new disks' --within 300", "maintenance"),
        ("tsm maintenance leave", "", "maintenance"),
        ("tsm maintenance restore", "-f nightly --identity backup.key", "backup-and-restore"),
        ("tsm maintenance status", "--json", "maintenance"),
        ("tsm maintenance ziplogs", "-f logs -d", "watch"),
        ("tsm pending-changes apply", "--ignore-prompt", "manage-secrets"),
        ("tsm pending-changes discard", "", "manage-secrets"),
        ("tsm pending-changes list", "", "manage-secrets"),
        ("tsm restart", "", "systemd"),
        ("tsm security identity renew", "", "recovery"),
        ("tsm security identity show", "", "recovery"),
        ("tsm security kms accept", f"--epoch 7 --digest {_DIGEST}", "when-a-key-is-lost"),
        ("tsm security kms adopt", "", _ROOT),
        ("tsm security kms former forget", "DIGEST", _ROOT),
        ("tsm security kms former list", "", _ROOT),
        ("tsm security kms retire", "MEK_ID", "retire-a-mek"),
        ("tsm security kms roots list", "", "recovery"),
        ("tsm security kms roots remove", "WRAP_ID", "recovery"),
        ("tsm security kms roots repair", "", _ROOT),
        ("tsm security kms roots verify", "", "recovery"),
        ("tsm security kms rotate", "", "rotate-and-prove"),
        ("tsm security kms status", "--json", "watch"),
        ("tsm security kms usage", "", "retire-a-mek"),
        ("tsm security keystore repair", "", "when-a-key-is-lost"),
        ("tsm security keystore show", "", "when-a-key-is-lost"),
        ("tsm security keystore verify", "", "watch"),
        ("tsm security regenerate-internal-tokens", "--dry-run", "rotate-and-prove"),
        ("tsm security secrets inventory", "--json", "manage-secrets"),
        ("tsm security secrets list", "--due", "manage-secrets"),
        ("tsm security secrets rotate", "--only passwords --dry-run", "rotate-secrets"),
        ("tsm security secrets verify", "", "rotate-secrets"),
        ("tsm settings export", "-f settings.age --recipient age1…", "move-settings"),
        ("tsm settings import", "-f settings.age --identity key.txt", "move-settings"),
        ("tsm start", "", "systemd"),
        ("tsm status", "-v", "watch"),
        ("tsm stop", "", "systemd"),
        ("tsm topology drain", "-n node2 --reason 'new memory'", "maintenance"),
        ("tsm topology list-nodes", "-v", "add-a-node"),
        ("tsm topology remove-nodes", "-n node2 --force", "add-a-node"),
        ("tsm topology set-node-role", "-n node2 -r no-extract-refreshes", "cluster"),
        ("tsm topology set-process", "-n node2 -pr backgrounder -c 1", "cluster"),
        ("tsm topology undrain", "-n node2", "maintenance"),
        ("tsm topology nodes get-bootstrap-file", "-f node2.age --recipient age1…", "add-a-node"),
        ("tsm version", "", "upgrade"),
    )
}


def names() -> frozenset[str]:
    """Tool and verbs of every command that has an example."""
    rows = registry.ROWS
    modes = {f"{_MODE}{row.kind}" for row in rows if not row.only_wraps}
    added = {f"{_ADD}{row.kind}" for row in rows if row.kind != registry.LOCAL}
    return frozenset({*_EXAMPLES, *modes, *added})


def of(prog: str) -> Example:
    """The example of a command by its tool and verbs."""
    if prog.startswith((_MODE, _ADD)):
        root = registry.find(prog.rpartition(" ")[2])
        ending = " --dry-run" if prog.startswith(_MODE) else ""
        return Example(f"{root.example}{ending}".strip(), root.page or f"root-{root.kind}")
    return _EXAMPLES[prog]
