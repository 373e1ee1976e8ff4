"""The registry of secret parameters (C-01, requirements 2.4): origin, kind and consumer of each."""

from enum import Enum
from typing import NamedTuple


class SecretOrigin(Enum):
    """Who makes a secret (C-01)."""

    ADMIN = "admin"
    GENERATED = "generated"


class SecretKind(Enum):
    """What a secret is: decides how it is made, and whether a final line break belongs to it."""

    PASSWORD = "password"  # noqa: S105 a kind, not a password
    CERTIFICATE = "certificate"
    PRIVATE_KEY = "private key"
    KEYS = "keys"


class SecretParameter(NamedTuple):
    """One secret parameter.

    Attributes:
        name: Its name, case-sensitive.
        origin: Who makes it.
        kind: What it is.
        consumer: Who uses it.
        key_material: Shown only when asked for as key material (Q-13).
        key_hierarchy: Changed by the key management alone (format/configuration.md §2.2).
    """

    name: str
    origin: SecretOrigin
    kind: SecretKind
    consumer: str
    key_material: bool = False
    key_hierarchy: bool = False


_SECRET_SUFFIXES = (
    ".password",
    "_password",
    ".passphrase",
    "_secret",
    ".key.file_bytes",
    ".cert.bytes",
)
_KEY_SUFFIX = ".key.file_bytes"

_GENERATED_PASSWORDS = {
    "clustercontroller.zookeeper.password": "cluster controller, towards the coordination service",
    "filestore.zookeeper.password": "file store, towards the coordination service",
    "hyper.connection.init_password": "Hyper, as tableau_internal_user",
    "indexandsearchserver.client.password": "whoever logs in to the index and search server",
    "jdbc.password": "the server, as PostgreSQL user rails",
    "pgsql.adminpassword": "PostgreSQL superuser tblwgadmin",
    "pgsql.readonly_password": "PostgreSQL user readonly",
    "pgsql.remote_password": "PostgreSQL user tableau",
    "redis.password": "Redis",
    "tabadminservice.password": "the service that hands out log files",
    "zookeeper.tsm.password": "tsm, towards the coordination service",
}
_ADMIN_PASSWORDS = {
    "maestro.rserve.password": "flows, towards Rserve",
    "maestro.tabpy.password": "flows, towards TabPy",
    "oauth.google.client_secret": "OAuth client of Google",
    "oauth.quickbooks.consumer_secret": "OAuth client of QuickBooks",
    "oauth.salesforce.client_secret": "OAuth client of Salesforce",
    "servercrashupload.proxy_server_password": "proxy for crash reports",
    "service.runas.password": "Run As user; nothing uses it yet, and applying it removes it",
    "ssl.key.passphrase": "the HTTPS listener, to open ssl.key.file_bytes",
    "svcmonitor.notification.smtp.password": "SMTP server for alerts",
    "vizportal.openid.client_secret": "OpenID Connect provider",
    "vizqlserver.external_proxy_password": "outbound proxy",
    "wgserver.domain.password": "bind to the directory (Active Directory, LDAP)",
    "wgserver.saml.key.passphrase": "SAML, to open its PKCS#8 key",
}
_SEARCH = "index and search server"


def _password(name: str, origin: SecretOrigin, consumer: str) -> SecretParameter:
    return SecretParameter(name, origin, SecretKind.PASSWORD, consumer)


def _certificate(name: str, origin: SecretOrigin, consumer: str) -> SecretParameter:
    return SecretParameter(name, origin, SecretKind.CERTIFICATE, consumer)


def _private_key(name: str, origin: SecretOrigin, consumer: str) -> SecretParameter:
    return SecretParameter(name, origin, SecretKind.PRIVATE_KEY, consumer, key_material=True)


def _keys(name: str, consumer: str) -> SecretParameter:
    return SecretParameter(name, SecretOrigin.GENERATED, SecretKind.KEYS, consumer, True, True)


def _all() -> dict[str, SecretParameter]:
    generated, admin = SecretOrigin.GENERATED, SecretOrigin.ADMIN
    parameters = [
        *(_password(name, generated, consumer) for name, consumer in _GENERATED_PASSWORDS.items()),
        *(_password(name, admin, consumer) for name, consumer in _ADMIN_PASSWORDS.items()),
        _keys("kms.persistent_store", "the key management system: its MEKs"),
        _keys("kms.previous_store", "the key management system: the value before the last"),
        _keys("kms.roots", "the key management system: how to reach its roots"),
        _keys("asset.keys", "credentials embedded in published content"),
        _keys("eventlog.signing_key", "the event log: signs its checkpoints"),
        _certificate("ssl.cert.file_bytes", admin, "the HTTPS listener"),
        _certificate("ssl.chain.file_bytes", admin, "the HTTPS listener"),
        _private_key("ssl.key.file_bytes", admin, "the HTTPS listener"),
    ]
    for role, use in {
        "root": "signs admin and node certificate",
        "admin": "administrative access",
        "node": "node-to-node",
    }.items():
        stem = f"indexandsearchserver.ssl.{role}"
        consumer = f"{_SEARCH}: {use}"
        parameters += [
            _certificate(f"{stem}.cert.bytes", generated, consumer),
            _private_key(f"{stem}.key.file_bytes", generated, consumer),
        ]
    return {one.name: one for one in sorted(parameters, key=lambda one: one.name)}


SECRETS = _all()
"""All registered secret parameters by name: the seeds' 34 and those of our own."""

OWN = frozenset({"kms.previous_store", "kms.roots", "asset.keys", "eventlog.signing_key"})
"""Those that the seeds do not list."""

TEMPORARY = frozenset({"service.runas.password"})
"""Those that count once, when they are applied, and never stand in the configuration (C-29)."""


def is_secret(name: str) -> bool:
    """Whether a parameter's value is stored encrypted (format/configuration.md §3.1, §3.2)."""
    return name in SECRETS or name.lower().endswith(_SECRET_SUFFIXES)


def is_key_material(name: str) -> bool:
    """Whether a value is shown only with `--reveal-key-material` (format/configuration.md §3.3)."""
    known = SECRETS.get(name)
    return (known is not None and known.key_material) or name.lower().endswith(_KEY_SUFFIX)


def is_key_hierarchy(name: str) -> bool:
    """Whether only the key management may change it (format/configuration.md §2.2)."""
    known = SECRETS.get(name)
    return known is not None and known.key_hierarchy


def is_multiline(name: str) -> bool:
    """Whether a final line break belongs to the value: yes for PEM, no for a password."""
    known = SECRETS.get(name)
    if known is not None:
        return known.kind is not SecretKind.PASSWORD
    return name.lower().endswith((".file_bytes", ".cert.bytes"))
