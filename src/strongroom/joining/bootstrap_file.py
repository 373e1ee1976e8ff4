"""The bootstrap file, which brings a new node the keys of the configuration, as bytes and back (docs/format/bootstrap-file.md).

Pure (C-21). A reader opens the keystore in the file, gets the configuration key by it, and proves the file by that key
(`UnprovedFile.proved`): its parts belong together. Whose file it is, says the fingerprint of the identity that signed
it, to a reader who knows that fingerprint. The file contains no RMK, no MEK and no value of the configuration.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from strongroom import canonical, ids
from strongroom.canonical import ASCII_LINE, Fields, Kind, from_base64, to_base64
from strongroom.clock import format_utc, parse_utc
from strongroom.crypto import kdf, labels, signing
from strongroom.crypto.installation_identity import IdentityKey, InstallationIdentity
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose
from strongroom.errors import FormatError, IntegrityError
from strongroom.joining import bearings
from strongroom.joining.bearings import Authorities, Bearings

FORMAT = "strongroom-bootstrap-4"
THIRD_FORMAT = "strongroom-bootstrap-3"
"""The format without bearings; its credential is a key as well, so that it admits a node as before."""
SECOND_FORMAT = "strongroom-bootstrap-2"
FIRST_FORMAT = "strongroom-bootstrap-1"
"""The format that nobody signed. Both of these are read for ever, without a credential, and written no more."""
MAX_BYTES = 8 << 20
_MAC_BYTES = 32
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
_SIGNED_MEMBERS = frozenset({*_MEMBERS, "identity", "signature"})
_PRESENT_MEMBERS = frozenset({*_SIGNED_MEMBERS, bearings.AUTHORITIES, bearings.ADDRESSES})
_BY_FORMAT = {
    FORMAT: _PRESENT_MEMBERS,
    THIRD_FORMAT: _SIGNED_MEMBERS,
    SECOND_FORMAT: _SIGNED_MEMBERS,
    FIRST_FORMAT: _MEMBERS,
}
_MAX_TEXT = 1024
_FOREIGN_HINT = "give a file that 'tsm topology nodes get-bootstrap-file' wrote"
_MADE_ANEW = "make a new one with 'tsm topology nodes get-bootstrap-file'"
_KIND = Kind("the bootstrap file", ASCII_LINE, MAX_BYTES, hint=_MADE_ANEW)


@dataclass(frozen=True)
class Credential:
    """A one-time credential, which admits a single node.

    Attributes:
        id: UUID of the credential.
        seed: 32 random bytes, from which its Ed25519 key follows.
    """

    id: str
    seed: SecretBytes = field(repr=False)

    @property
    def key(self) -> SigningKey:
        """The key, which signs the request of the node."""
        return SigningKey(self.seed)


@dataclass(frozen=True)
class BootstrapFile:
    """The members of format/bootstrap-file.md §1.2, decoded.

    `identity` is empty in a file that nobody signed, and `bearings` are None in one of an earlier form (§7).
    """

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
    identity: bytes = b""
    bearings: Bearings | None = None

    @property
    def authorities(self) -> Authorities:
        """The authorities in the file; none in one of an earlier form."""
        return (self.bearings or bearings.NOTHING).authorities

    @property
    def signer(self) -> InstallationIdentity | None:
        """The identity that the file names; None in a file that nobody signed."""
        if not self.identity:
            return None
        return InstallationIdentity(Origin(self.installation_id), self.identity)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of that identity; empty in a file that nobody signed."""
        return "" if self.signer is None else self.signer.fingerprint

    def check_time(self, now: datetime) -> None:
        """Refuse a file that is not valid now (§3.1).

        Raises:
            FormatError: The file has expired.
        """
        if now >= self.expires_at:
            raise FormatError(
                f"the bootstrap file of {self.node_id} expired at {format_utc(self.expires_at)}",
                hint=_MADE_ANEW,
            )


class UnprovedFile(NamedTuple):
    """A file of the right form that is not authenticated yet; only its keystore may be used, to prove it.

    Attributes:
        claimed: The content of the file.
        body: The bytes over which the MAC is computed.
        mac: The MAC in the file.
        signed: The bytes that the identity signs; empty in a file that nobody signed.
        signature: The signature of the identity.
    """

    claimed: BootstrapFile
    body: bytes
    mac: bytes
    signed: bytes = b""
    signature: bytes = b""

    def proved(self, key: SecretBytes) -> BootstrapFile:
        """The content of the file, after its MAC was verified by the configuration key in it, and its signature (§2.2).

        Raises:
            IntegrityError: The file was changed, or put together from two files.
        """
        if not hmac.compare_digest(self.mac, _mac(key, self.claimed.installation_id, self.body)):
            raise IntegrityError(hint=_MADE_ANEW)
        signer = self.claimed.signer
        if signer is not None:
            try:
                signer.check(Purpose.BOOTSTRAP, self.signed, self.signature)
            except IntegrityError:
                raise IntegrityError(hint=_MADE_ANEW) from None
        return self.claimed


def serialize(file: BootstrapFile, key: SecretBytes, identity: IdentityKey) -> SecretBytes:
    """The bytes of a file, authenticated by the configuration key and signed by the identity (§1.1, §2.1).

    Args:
        file: The content; the identity that it names is replaced by this one. Without bearings it is made in the form
            before.
        key: The active configuration key.
        identity: The identity of the installation.
    """
    members = {**_members_of(file), "identity": to_base64(identity.identity.public)}
    mac = _mac(key, file.installation_id, _KIND.dumps(members))
    members["mac"] = mac.hex()
    signature = identity.sign(Purpose.BOOTSTRAP, _KIND.dumps(members))
    return SecretBytes(_KIND.dumps({**members, "signature": to_base64(signature)}))


def parse(data: bytes) -> UnprovedFile:
    """Parse the bytes of a bootstrap file.

    Raises:
        FormatError: The bytes are empty, cut, too long, not canonical, or no bootstrap file; the message quotes no
            value.
    """
    fields = _fields_of(data)
    try:
        mac = bytes.fromhex(fields.hexadecimal("mac", _MAC_BYTES))
        claimed = _file_of(fields)
    except FormatError as error:
        raise FormatError(error.message, hint=_MADE_ANEW) from None
    members = {name: fields.value(name) for name in fields.names if name != "signature"}
    body = _KIND.dumps({name: value for name, value in members.items() if name != "mac"})
    if not claimed.identity:
        return UnprovedFile(claimed, body, mac)
    return UnprovedFile(claimed, body, mac, _KIND.dumps(members), fields.raw("signature"))


# ---- inside ----------------------------------------------------------------------------------------


def _mac(key: SecretBytes, installation_id: str, body: bytes) -> bytes:
    subkey = kdf.hkdf(key, salt=b"", info=labels.BOOTSTRAP + ids.id_bytes(installation_id))
    return hmac.digest(subkey.reveal(), body, hashlib.sha256)


def _members_of(file: BootstrapFile) -> dict[str, object]:
    credential = file.credential and {
        "id": file.credential.id,
        "seed": to_base64(file.credential.seed.reveal()),
    }
    return {
        "format": THIRD_FORMAT if file.bearings is None else FORMAT,
        **({} if file.bearings is None else file.bearings.members()),
        "installation_id": file.installation_id,
        "node_id": file.node_id,
        "created_at": format_utc(file.created_at),
        "expires_at": format_utc(file.expires_at),
        "server": file.server,
        "master_key": file.master_key,
        "configuration_key_id": file.configuration_key_id,
        "keystore": to_base64(file.keystore),
        "keystore_password": to_base64(file.keystore_password.reveal()),
        "configuration_keys": to_base64(file.configuration_keys),
        "credential": credential,
    }


def _fields_of(data: bytes) -> Fields:
    if not data.strip():
        raise FormatError("the bootstrap file is empty", hint="look at what should have written it")
    if len(data) > MAX_BYTES:
        raise FormatError(f"the bootstrap file has more than {MAX_BYTES} bytes", hint=_FOREIGN_HINT)
    named = str(canonical.peek(data, "format"))
    if not named.startswith("strongroom-bootstrap-"):
        raise FormatError("this is no bootstrap file, or one that was cut", hint=_FOREIGN_HINT)
    fields = _KIND.loads(data)
    fields.check_version("format", named if named in _BY_FORMAT else FORMAT)
    fields.check_names(_BY_FORMAT[named])
    return fields


def _file_of(fields: Fields) -> BootstrapFile:
    return BootstrapFile(
        installation_id=fields.id("installation_id"),
        node_id=check_node_id(fields.text("node_id")),
        created_at=parse_utc(fields.time("created_at")),
        expires_at=parse_utc(fields.time("expires_at")),
        server=check_server(fields.text("server")),
        master_key=_bounded(fields.text("master_key")),
        configuration_key_id=fields.id("configuration_key_id"),
        keystore=fields.raw("keystore"),
        keystore_password=SecretBytes(fields.raw("keystore_password")),
        configuration_keys=fields.raw("configuration_keys"),
        credential=fields.optional("credential", _credential),
        identity=_identity(fields),
        bearings=bearings.of_fields(fields) if fields.text("format") == FORMAT else None,
    )


def _identity(fields: Fields) -> bytes:
    if "identity" not in fields.names:
        return b""
    public = fields.raw("identity")
    if len(public) != signing.PUBLIC_BYTES:
        raise fields.refused("its identity is no public key")
    return public


def _credential(fields: Fields, name: str) -> Credential:
    found = fields.inner(name)
    if fields.text("format") not in {FORMAT, THIRD_FORMAT}:
        raise FormatError(
            "the bootstrap file was made by an earlier version: its credential is a secret that"
            " would be sent, which no installation takes any more"
        )
    found.check_names(("id", "seed"))
    return credential_of(found.id("id"), found.text("seed"))


def _bounded(text: str) -> str:
    if not 0 < len(text) <= _MAX_TEXT or not text.isprintable():
        raise FormatError("a member of the bootstrap file is no printable text")
    return text


def credential_of(credential_id: str, seed: str) -> Credential:
    """A credential, from its id and its seed as texts.

    Raises:
        FormatError: A text is not of that form.
    """
    ids.id_bytes(credential_id)
    found = from_base64(seed)
    if found is None or len(found) != signing.SEED_BYTES:
        raise FormatError(f"a seed is no {signing.SEED_BYTES} bytes in base64")
    return Credential(credential_id, SecretBytes(found))


def check_node_id(text: str) -> str:
    """Check a node's id, `node` and a number; returns it. Ids become parts of file names, so nothing else is accepted.

    Raises:
        FormatError: The text is no such id.
    """
    number = text.removeprefix("node")
    if not (text.startswith("node") and number.isascii() and number.isdecimal()) or (
        len(number) > 4 or number.startswith("0")
    ):
        raise FormatError("no id of a node")
    return text


def check_server(text: str) -> str:
    """Check the address of a node's web service, which may be empty; returns it.

    Raises:
        FormatError: The text is no address, or secrets would be sent to it unencrypted.
    """
    if not text:
        return text
    try:
        parts = urlsplit(_bounded(text))
        is_port = parts.port != 0
    except ValueError:  # for example for an unbalanced bracket, or a port that is none
        raise FormatError("no address of a server") from None
    is_here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if (
        parts.username
        or not parts.hostname
        or not is_port
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise FormatError("no address of a server")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        raise FormatError("a server is reached by https, by http on this machine only")
    return text
