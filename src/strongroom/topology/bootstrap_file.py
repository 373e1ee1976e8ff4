"""The node's bootstrap file: what a new node needs of the installation, as bytes and back (docs/format/bootstrap-file.md; C-21).

Pure. It opens no key by itself: whoever reads a file opens its keystore and then has the file proved by the
configuration key. It holds no RMK, no MEK and no value of the configuration.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from strongroom import ids
from strongroom.clock import format_utc, parse_utc
from strongroom.crypto import kdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError

FORMAT = "strongroom-bootstrap-1"
MAX_BYTES = 8 << 20
SECRET_BYTES = 32
_LABEL = b"strongroom/v1/bootstrap"
_MEMBERS = frozenset(
    {
        "format",
        "installation_id",
        "node_id",
        "created_at",
        "expires_at",
        "server",
        "master_key",
        "configuration_key_id",
        "keystore",
        "keystore_password",
        "configuration_keys",
        "credential",
        "mac",
    }
)
_MAX_TEXT = 1024
_FOREIGN_HINT = "give a file that 'tsm topology nodes get-bootstrap-file' wrote"
_MADE_ANEW = "make a new one with 'tsm topology nodes get-bootstrap-file'"


@dataclass(frozen=True)
class Credential:
    """What admits one node, once.

    Attributes:
        id: UUID.
        secret: 32 random bytes.
    """

    id: str
    secret: SecretBytes = field(repr=False)


@dataclass(frozen=True)
class BootstrapFile:
    """The members of format/bootstrap-file.md §1.2, decoded."""

    installation_id: str
    node_id: str
    created_at: datetime
    expires_at: datetime
    server: str
    master_key: str
    configuration_key_id: str
    keystore: bytes = field(repr=False)
    keystore_password: SecretBytes = field(repr=False)
    configuration_keys: bytes = field(repr=False)
    credential: Credential | None

    def check_time(self, now: datetime) -> None:
        """Refuse it unless it is valid now (§3.1).

        Raises:
            FormatError: It has expired.
        """
        if now >= self.expires_at:
            raise FormatError(
                f"the bootstrap file of {self.node_id} expired at {format_utc(self.expires_at)}",
                hint=_MADE_ANEW,
            )


class UnprovedFile(NamedTuple):
    """A file that has the right form; nothing in it is to be acted upon but the keystore.

    Attributes:
        claimed: What it says.
        body: What its MAC is over.
        mac: Its MAC.
    """

    claimed: BootstrapFile
    body: bytes
    mac: bytes

    def proved(self, key: SecretBytes) -> BootstrapFile:
        """What it says, proved by the installation's configuration key (§2.2).

        Raises:
            IntegrityError: It was changed, or put together from two files.
        """
        if not hmac.compare_digest(self.mac, _mac(key, self.claimed.installation_id, self.body)):
            raise IntegrityError(hint=_MADE_ANEW)
        return self.claimed


def serialize(file: BootstrapFile, key: SecretBytes) -> SecretBytes:
    """The bytes of a file, authenticated by the configuration key (§1.1, §2.1)."""
    members = _members_of(file)
    mac = _mac(key, file.installation_id, _canonical(members))
    return SecretBytes(_canonical({**members, "mac": mac.hex()}))


def parse(data: bytes) -> UnprovedFile:
    """The file of some bytes.

    Raises:
        FormatError: They are empty, cut, too long, changed in their layout, or something else; no value is quoted.
    """
    members = _object(data)
    # from None throughout: a cause could carry the keystore's password along
    try:
        mac = _digest(members.pop("mac"))
        claimed = _file_of(members)
    except (ValueError, TypeError, KeyError, AttributeError, FormatError):
        raise FormatError(
            "it is a damaged bootstrap file: a member is not as it should be"
        ) from None
    return UnprovedFile(claimed, _canonical(members), mac)


# ---- inside ----------------------------------------------------------------------------------------


def _mac(key: SecretBytes, installation_id: str, body: bytes) -> bytes:
    subkey = kdf.hkdf(key, salt=b"", info=_LABEL + ids.id_bytes(installation_id))
    return hmac.digest(subkey.reveal(), body, hashlib.sha256)


def _canonical(members: object) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _members_of(file: BootstrapFile) -> dict[str, object]:
    credential = file.credential and {
        "id": file.credential.id,
        "secret": _text(file.credential.secret.reveal()),
    }
    return {
        "format": FORMAT,
        "installation_id": file.installation_id,
        "node_id": file.node_id,
        "created_at": format_utc(file.created_at),
        "expires_at": format_utc(file.expires_at),
        "server": file.server,
        "master_key": file.master_key,
        "configuration_key_id": file.configuration_key_id,
        "keystore": _text(file.keystore),
        "keystore_password": _text(file.keystore_password.reveal()),
        "configuration_keys": _text(file.configuration_keys),
        "credential": credential,
    }


def _object(data: bytes) -> dict[str, Any]:
    if not data.strip():
        raise FormatError("it is empty", hint="look at what should have written it")
    if len(data) > MAX_BYTES:
        raise FormatError(f"it has more than {MAX_BYTES} bytes", hint=_FOREIGN_HINT)
    try:
        members = json.loads(data)
        is_canonical = _canonical(members) == data
    except (ValueError, RecursionError):
        raise FormatError(
            "it is no bootstrap file, or one that was cut: no JSON", hint=_FOREIGN_HINT
        ) from None
    named = str(members.get("format", "")) if isinstance(members, dict) else ""
    if not named.startswith("strongroom-bootstrap-"):
        raise FormatError("it is JSON, but no bootstrap file", hint=_FOREIGN_HINT)
    if named != FORMAT:
        raise FormatError(
            "it is a bootstrap file of a version that is not known here",
            hint="it was written by a newer strongroom",
        )
    if members.keys() != _MEMBERS or not is_canonical:
        raise FormatError("it is a damaged bootstrap file: not in its one form", hint=_MADE_ANEW)
    found: dict[str, Any] = members
    return found


def _file_of(members: Mapping[str, Any]) -> BootstrapFile:
    for name in ("installation_id", "configuration_key_id"):
        ids.id_bytes(members[name])
    check_node_id(members["node_id"])
    return BootstrapFile(
        installation_id=members["installation_id"],
        node_id=members["node_id"],
        created_at=parse_utc(members["created_at"]),
        expires_at=parse_utc(members["expires_at"]),
        server=check_server(members["server"]),
        master_key=_bounded(members["master_key"]),
        configuration_key_id=members["configuration_key_id"],
        keystore=_bytes(members["keystore"]),
        keystore_password=SecretBytes(_bytes(members["keystore_password"])),
        configuration_keys=_bytes(members["configuration_keys"]),
        credential=_credential(members["credential"]),
    )


def _credential(value: Any) -> Credential | None:
    if value is None:
        return None
    if value.keys() != {"id", "secret"}:
        raise FormatError("a credential has another form")
    return credential_of(value["id"], value["secret"])


def _digest(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if raw.hex() != text:  # one spelling only
        raise FormatError("the MAC is not in its one form")
    return raw


def _bytes(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise FormatError("a member is not base64") from error
    if _text(raw) != text:
        raise FormatError("a member is not canonical base64")
    return raw


def _bounded(text: str) -> str:
    if not 0 < len(text) <= _MAX_TEXT or not text.isprintable():
        raise FormatError("a member is no text")
    return text


def credential_of(credential_id: str, secret: str) -> Credential:
    """A credential of its texts.

    Raises:
        FormatError: They are none.
    """
    ids.id_bytes(credential_id)
    return Credential(credential_id, secret_of(secret))


def secret_of(text: str) -> SecretBytes:
    """The 32 bytes of a text in base64.

    Raises:
        FormatError: It is something else.
    """
    secret = _bytes(text)
    if len(secret) != SECRET_BYTES:
        raise FormatError("a secret has another length")
    return SecretBytes(secret)


def check_node_id(text: str) -> str:
    """A node's id: `node` and a number.

    Raises:
        FormatError: It is none; an id names files, so nothing else is taken.
    """
    number = text.removeprefix("node")
    if not (text.startswith("node") and number.isascii() and number.isdecimal()) or (
        len(number) > 4 or number.startswith("0")
    ):
        raise FormatError("no id of a node")
    return text


def check_server(text: str) -> str:
    """The address of a node's web service, or nothing.

    Raises:
        FormatError: It is no address, or secrets would travel to it in the clear.
    """
    if not text:
        return text
    parts = urlsplit(_bounded(text))
    is_here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if (
        parts.username
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise FormatError("no address of a server")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        raise FormatError("a server is reached by https, by http on this machine only")
    return text
