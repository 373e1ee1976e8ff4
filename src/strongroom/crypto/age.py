"""age (age-encryption.org/v1): small files and keys sealed to public keys or to a passphrase. The only door to pyrage.

Pure of files: functions take bytes and return bytes. The files are those of the `age` program, in both directions
(tests/interop). Errors do not say whether key, passphrase or bytes were wrong.

Identities and passphrases are kept as `SecretBytes`, but the library takes and gives Python strings: such copies live
until CPython uses their memory again, as SECURITY.md says of all secrets.

Recipients are `age1…` (X25519), and `age1tag1…` and `age1tagpq1…` (keys of hardware tokens; the second is post-quantum
hybrid). A file that is sealed to a token is opened by the token's plugin, a program `age-plugin-NAME` that the library
runs, and only for callers that pass `Prompts`, by which a person answers the plugin's questions. The library does not
support the post-quantum `age1pq1…` yet.
"""

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyrage

from strongroom.crypto import passphrases
from strongroom.crypto.age_passphrase import open_with_passphrase
from strongroom.crypto.rng import KEY_BYTES
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, UsageError
from strongroom.system.redaction import redact

# pyrage is compiled, so the type checker cannot see its sub-modules
# pyright: reportAttributeAccessIssue=false

MAGIC = b"age-encryption.org/v1\n"
IDENTITY_PREFIX = "AGE-SECRET-KEY-"
_TOKEN_PREFIX = b"AGE-PLUGIN-"
_TOKEN_RECIPIENTS = ("age1tag1", "age1tagpq1")
MOST_IDENTITIES = 64
"""Most identities in a file: each is tried at each stanza of a header, so their number multiplies the work."""
LONGEST_HEADER = 1 << 20
"""Longest header in bytes: a post-quantum stanza has about 1.7 KiB, so this allows some hundred recipients."""
HIGHEST_WORK_FACTOR = 22
"""Highest log2 of scrypt's N, as in age itself: without a bound a file could make its reader use any amount of memory."""

_ARMOR_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
_ARMOR_END = b"-----END AGE ENCRYPTED FILE-----"
_SMALLEST_PAYLOAD = 16 + 16
"""The smallest payload in bytes: a nonce and the tag of an empty last chunk."""
_STANZA = re.compile(rb"-> [\x21-\x7e]+( [\x21-\x7e]+)*")
_BODY = re.compile(rb"[A-Za-z0-9+/]{0,64}")
_MAC = re.compile(rb"--- [A-Za-z0-9+/]{43}")


class Prompts(Protocol):
    """A person at a terminal, who answers the plugin of a hardware token; the methods' names are the library's."""

    def display_message(self, message: str) -> None:
        """Show a message, such as the request to touch the token."""
        ...

    def confirm(self, message: str, yes_string: str, no_string: str | None) -> bool | None:
        """Ask for yes or no; None if no person answers."""
        ...

    def request_public_string(self, description: str) -> str | None:
        """Ask for a text that is shown while it is typed."""
        ...

    def request_passphrase(self, description: str) -> str | None:
        """Ask for a PIN."""
        ...


@dataclass(frozen=True)
class Identity:
    """The private half of an X25519 key pair, or the name of one that is in a hardware token.

    Attributes:
        text: The `AGE-SECRET-KEY-1…` or `AGE-PLUGIN-…` text.
        prompts: Answers the questions of the token's plugin.
    """

    text: SecretBytes = field(repr=False)
    prompts: Prompts | None = field(default=None, repr=False, compare=False)

    @property
    def is_token(self) -> bool:
        """Whether the private key is in a hardware token, so that a plugin opens files."""
        return self.text.reveal().startswith(_TOKEN_PREFIX)

    @property
    def recipient(self) -> str:
        """The public half, `age1…`; for a token the words `a hardware token`, since only its plugin knows the key."""
        return "a hardware token" if self.is_token else str(_private(self).to_public())

    def may_open(self, recipient: str) -> bool:
        """Whether this identity may be that of a recipient; certain for an X25519 key, possible for a token."""
        return (
            recipient.startswith(_TOKEN_RECIPIENTS)
            if self.is_token
            else recipient == self.recipient
        )


@dataclass(frozen=True)
class SealTo:
    """The recipients to which data is sealed, or a passphrase; not both.

    Attributes:
        recipients: Public keys as text.
        passphrase: The passphrase in UTF-8, or None.
    """

    recipients: tuple[str, ...] = ()
    passphrase: SecretBytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.recipients and self.passphrase is not None:
            raise UsageError(
                "recipients and a passphrase exclude each other",
                hint="age seals to the one or to the other",
            )

    @property
    def is_empty(self) -> bool:
        """Whether neither a recipient nor a passphrase is given, so that nothing is sealed."""
        return not self.recipients and self.passphrase is None


@dataclass(frozen=True)
class OpenWith:
    """The identities that may open sealed data, or a passphrase; not both.

    Attributes:
        identities: The identities, each of which is tried.
        passphrase: The passphrase in UTF-8, or None.
    """

    identities: tuple[Identity, ...] = ()
    passphrase: SecretBytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.identities and self.passphrase is not None:
            raise UsageError("identities and a passphrase exclude each other")

    @property
    def is_empty(self) -> bool:
        """Whether neither an identity nor a passphrase is given."""
        return not self.identities and self.passphrase is None


def new_identity() -> Identity:
    """A fresh X25519 identity; the library takes its randomness from the operating system."""
    return Identity(SecretBytes(str(pyrage.x25519.Identity.generate()).encode()))


def parse_identities(data: bytes, prompts: Prompts | None = None) -> tuple[Identity, ...]:
    """Parse an age identity file: an identity in each line, between comments and blank lines.

    Args:
        data: The bytes of the file.
        prompts: Answers the plugins of hardware tokens; None refuses identities of tokens.

    Raises:
        UsageError: A line is no X25519 identity, or the file has none or too many; the message quotes no line.
    """
    if is_sealed(data):
        raise UsageError(
            "the identity file is itself sealed",
            hint="open it first (age --decrypt) and give the identity by a pipe",
        )
    lines = [line.strip() for line in data.splitlines()]
    found = tuple(
        _parse_identity(number, line, prompts)
        for number, line in enumerate(lines, 1)
        if line and not line.startswith(b"#")
    )
    if not 0 < len(found) <= MOST_IDENTITIES:
        raise UsageError(
            f"an identity file has 1 to {MOST_IDENTITIES} identities, not {len(found)}"
        )
    return found


def check_recipient(text: str) -> str:
    """Parse a recipient; returns its canonical form.

    Raises:
        UsageError: The text is no recipient to which the library can seal.
    """
    canonical = text.strip().lower()
    _public(canonical)
    return canonical


def seal(data: bytes, to: SealTo) -> bytes:
    """Seal data into a binary age file.

    Raises:
        UsageError: A recipient is not supported, the passphrase is too short, or neither is given.
    """
    if to.passphrase is not None:
        phrase = passphrases.text_of(passphrases.check_new(to.passphrase))
        return bytes(pyrage.passphrase.encrypt(data, phrase))
    if not to.recipients:
        raise UsageError("there is nobody to seal it to")
    return bytes(pyrage.encrypt(data, [_public(one) for one in to.recipients]))


def is_sealed(data: bytes) -> bool:
    """Whether the bytes begin as an age file does, binary or armored."""
    return data.startswith(MAGIC) or data.lstrip().startswith(_ARMOR_BEGIN)


def open_sealed(data: bytes, by: OpenWith) -> SecretBytes:
    """Open an age file.

    Raises:
        UsageError: Neither an identity nor a passphrase is given.
        FormatError: The data is no age file, ends too early, or asks for too much work.
        IntegrityError: No identity or passphrase opens the file, or it was changed; the error does not say which.
    """
    binary = _dearmored(data)
    _check_header(binary)
    if by.is_empty:
        raise UsageError("it is sealed with age, and there is nothing to open it with")
    private = [_private(one) for one in by.identities]
    try:
        if by.passphrase is not None:
            phrase = passphrases.text_of(by.passphrase)
            return open_with_passphrase(binary, phrase.encode())
        return SecretBytes(pyrage.decrypt(binary, private))
    except (pyrage.DecryptError, IntegrityError):
        raise IntegrityError(
            hint="give the identity or the passphrase that it was sealed to; if that does not open it,"
            " it was changed"
        ) from None


def wrap(key: SecretBytes, *, recipient: str, aad: bytes) -> bytes:
    """Seal a key to a recipient, together with its context, since age itself binds none (format/recovery.md 1.1)."""
    return seal(aad + key.reveal(), SealTo((recipient,)))


def unwrap(wrapped: bytes, *, identities: tuple[Identity, ...], aad: bytes) -> SecretBytes:
    """Open a key that `wrap` sealed (format/recovery.md 1.2).

    Raises:
        IntegrityError: The identity or the aad is wrong, or the bytes were changed.
    """
    try:
        sealed = open_sealed(wrapped, OpenWith(identities)).reveal()
    except FormatError:
        raise IntegrityError from None
    bound, key = sealed[:-KEY_BYTES], sealed[-KEY_BYTES:]
    if not hmac.compare_digest(bound, aad) or len(key) != KEY_BYTES:
        raise IntegrityError
    return SecretBytes(key)


# ---- inside --------------------------------------------------------------------------------------


def _parse_identity(number: int, line: bytes, prompts: Prompts | None) -> Identity:
    identity = Identity(SecretBytes(line.upper()), prompts)
    try:
        _private(identity)
    except UsageError as error:
        raise UsageError(f"line {number}: {error.message}", hint=error.hint) from None
    return identity


def _private(identity: Identity) -> Any:
    try:
        text = identity.text.reveal().decode()
        if identity.is_token and identity.prompts is not None:
            return _plugin(pyrage.plugin.Identity.from_str(text), identity.prompts)
        return pyrage.x25519.Identity.from_str(text)
    except (pyrage.IdentityError, UnicodeDecodeError):
        # from None: the library's exception may quote the line, which is a private key
        raise UsageError(
            "this is no X25519 identity",
            hint=f"such a line begins with {IDENTITY_PREFIX}1; post-quantum identities are not supported,"
            " and hardware tokens only by 'strongroom recover'",
        ) from None


def _plugin(token: Any, prompts: Prompts) -> Any:
    try:
        return pyrage.plugin.IdentityPluginV1(token.plugin(), [token], prompts)
    except pyrage.DecryptError as error:
        raise UsageError(
            f"the plugin of the hardware token is missing: age-plugin-{token.plugin()}",
            hint="install it, so that it is found in PATH",
        ) from error


def _public(text: str) -> Any:
    kinds = {"age1tagpq1": pyrage.tagpq, "age1tag1": pyrage.tag}
    kind = next((kinds[head] for head in kinds if text.startswith(head)), pyrage.x25519)
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError:
        # from None, and masked: the text may be an identity, a private key, given by mistake
        raise UsageError(
            f"no age recipient that can be sealed to: {redact(text)[:80]}",
            hint="give an age1… (age-keygen -y), age1tag1… or age1tagpq1… recipient; age1pq1…, ssh and"
            " plugin recipients are not supported",
        ) from None


def _dearmored(data: bytes) -> bytes:
    text = data.strip()
    if not text.startswith(_ARMOR_BEGIN):
        return data
    if not text.endswith(_ARMOR_END):
        raise FormatError("the armored age file does not end as one")
    body = b"".join(text[len(_ARMOR_BEGIN) : -len(_ARMOR_END)].split())
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise FormatError("the armored age file is not base64 inside") from error


def _check_header(data: bytes) -> None:
    """Check the form of the header by the C2SP specification of age, to tell a damaged file from a wrong key."""
    if not data.startswith(MAGIC):
        raise FormatError("this is no age file", hint="age files begin with age-encryption.org/v1")
    end = data.find(b"\n---", 0, LONGEST_HEADER)
    mac_end = data.find(b"\n", end + 1, LONGEST_HEADER)
    if end < 0 or mac_end < 0 or len(data) - mac_end - 1 < _SMALLEST_PAYLOAD:
        raise FormatError("the age file ends too early")
    lines = data[len(MAGIC) : end].split(b"\n")
    stanzas = [line for line in lines if line.startswith(b"->")]
    others = [line for line in lines if not line.startswith(b"->")]
    if not (
        lines[0].startswith(b"->")
        and all(_STANZA.fullmatch(line) for line in stanzas)
        and all(_BODY.fullmatch(line) for line in others)
        and _MAC.fullmatch(data[end + 1 : mac_end])
    ):
        raise FormatError("the header of the age file is damaged")
    for stanza in stanzas:
        _check_work(stanza.split(b" "))


def _check_work(words: list[bytes]) -> None:
    if words[1] != b"scrypt":
        return
    factor = words[3] if len(words) == 4 else b""
    if not re.fullmatch(rb"[1-9][0-9]?", factor) or int(factor) > HIGHEST_WORK_FACTOR:
        raise FormatError(
            f"the age file asks for a work factor beyond 1 to {HIGHEST_WORK_FACTOR} for its passphrase"
        )
