"""A PKCS#11 token (HSM) as the root: an AES key that never leaves it wraps the RMK; the one door to python-pkcs11.

AES-GCM runs in the token, with the wrap's context as additional data. Every operation opens a session of
its own and closes it: sessions of one process share their login, and a token that was taken out is
noticed. A wrong PIN is tried a few times only, since a token counts them and locks itself.
"""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar
from urllib.parse import quote

from strongroom import foreign_words
from strongroom.clock import Clock
from strongroom.crypto import labels, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    UsageError,
)
from strongroom.roots import credentials, ends, indirect, names, wraps
from strongroom.roots.base import Context, CredentialEnd, RootDescription, WrapRecord
from strongroom.roots.kinds import Given, Option, RootKind
from strongroom.roots.settings import CREATE, CREATE_ON_TRIAL, RootSettings
from strongroom.system.extras import needed

T = TypeVar("T")

KIND = "pkcs11"
_TRIAL = b"a trial of the token"
#: A wrong PIN is given no more often to a token by one provider.
MAX_WRONG_PINS = 2
_NONCE_BYTES = 12
_TAG_BITS = 128
_KEY_BITS = 256
_NOT_LOADED = "OS exception while loading"
_UNRESERVED = "-._~"  # RFC 7512 allows more; these are safe in any shell
#: C_Initialize and logins belong to the whole process.
_PROCESS_LOCK = threading.Lock()
_initialized_by: dict[str, int] = {}


def settings(
    module: str, token_label: str, key_label: str, *, pin: SecretBytes, create: bool = False
) -> RootSettings:
    """Checked settings; sends no request.

    Args:
        module: Full path of the vendor's library.
        token_label: Label of the token.
        key_label: Label of the AES key in it.
        pin: The user's PIN.
        create: Make the key if there is none yet.

    Raises:
        UsageError: A label or a path that is none.
    """
    path = module.strip().strip("\"'")
    if not os.path.isabs(path):  # noqa: PTH117 a path as text, of whatever machine
        raise UsageError(f"not the full path of a PKCS#11 library: {path!r}")
    for name in (token_label, key_label):
        names.label(name, "a label")
    if len(token_label.encode()) > 32:
        raise UsageError(f"the label of a token has at most 32 bytes: {token_label!r}")
    options = {"module": path, "token": token_label, "key": key_label}
    if create:
        options[CREATE] = "yes"
    uri = ";".join(
        (f"token={_quoted(token_label)}", f"object={_quoted(key_label)}", "type=secret-key")
    )
    pin = credentials.checked(pin, "the PIN")
    return RootSettings(KIND, f"pkcs11:{uri}", options, {"pin": pin})


def _quoted(text: str) -> str:
    return quote(text, safe=_UNRESERVED)


def build(root: RootSettings, clock: Clock) -> "Pkcs11Root":
    """The root with python-pkcs11; the vendor's library is loaded at the first call."""
    with needed("the PKCS#11 root needs python-pkcs11", "hsm", RootError):
        import pkcs11
    return Pkcs11Root(lambda: pkcs11.lib(root.options["module"]), root, clock)


def of_options(given: Given) -> RootSettings:
    """The settings of a command line."""
    return settings(
        given.file("--module"),
        given.text("--token-label"),
        given.text("--key-label"),
        pin=given.needed("--pin-file", "the PIN"),
        create=given.flag("--create-key"),
    )


# no `of_backup`: the vendor's library of a stranger's words would run code of their choice
ROOT = RootKind(
    KIND,
    build,
    title="PKCS#11",
    options=(
        Option("--module", "SO", "the vendor's PKCS#11 library", required=True),
        Option("--token-label", "LABEL", "label of the token", required=True),
        Option("--key-label", "LABEL", "label of an AES-256 key", required=True),
        Option("--pin-file", "FILE", "file with the user's PIN; - is stdin"),
        Option("--create-key", "", "make the key in the token if it has none of this label"),
    ),
    of_options=of_options,
    example="--module SO --token-label T --key-label K --pin-file pin",
)


class Pkcs11Root:
    """Wraps the RMK by one AES key of a token."""

    def __init__(self, library: Callable[[], Any], root: RootSettings, clock: Clock) -> None:
        """Build the root.

        Args:
            library: Gives the vendor's library, initialised.
            root: The settings of the root.
            clock: For the times in records.
        """
        self._library = library
        self._root = root
        self._clock = clock
        self._wrong_pins = 0

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """A fresh key of our own generator, and its wrap."""
        key = rng.new_key()
        return key, self.wrap(key, context)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Encrypt in the token."""
        pairs, nonce = context.pairs(), rng.random_bytes(_NONCE_BYTES)
        gcm = _gcm(nonce, labels.ROOT_PKCS11 + indirect.context_bytes(pairs))

        def encrypt(session: Any) -> bytes:
            kek = self._find(session)
            self._check_kept(kek)
            return bytes(kek.encrypt(key.reveal(), **gcm))

        blob = nonce + self._call("encrypt", encrypt)
        return wraps.new_record(context, KIND, self._root.root_key_id, blob, self._clock)

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Decrypt in the token.

        Raises:
            IntegrityError: The record does not open.
            RootRefusedError: Another key made it.
        """
        if not self._root.opens(record):
            raise wraps.other_key(record.root_key_id, self._root.root_key_id)
        nonce, sealed = record.blob[:_NONCE_BYTES], record.blob[_NONCE_BYTES:]
        if len(sealed) != (_KEY_BITS + _TAG_BITS) // 8:
            raise IntegrityError
        gcm = _gcm(nonce, labels.ROOT_PKCS11 + indirect.context_bytes(record.context))

        def decrypt(session: Any) -> bytes:
            from pkcs11 import exceptions

            # tokens have no error of their own for a tag that does not fit
            doubtful = (
                exceptions.GeneralError,
                exceptions.EncryptedDataInvalid,
                exceptions.EncryptedDataLenRange,
                exceptions.SignatureInvalid,
            )
            kek = self._find(session)
            try:
                return bytes(kek.decrypt(sealed, **gcm))
            except doubtful:
                raise IntegrityError from None

        return SecretBytes(self._call("decrypt", decrypt))

    def describe(self) -> RootDescription:
        """Library, token and label of the key; never the PIN."""
        options = self._root.options
        details = {name: options[name] for name in ("module", "token", "key")}
        return RootDescription(KIND, self._root.root_key_id, {**details, "identity": self._who()})

    def check(self) -> None:
        """Wrap and unwrap a fresh key; makes the token's key before if that was asked for.

        Raises:
            RootError: The token does not allow it, or gives back another key.
        """
        create = self._root.options.get(CREATE)
        if create == CREATE_ON_TRIAL and self._call("look for", self._is_missing):
            self._call("generate", _try_out)
            return
        if create:
            self._call("generate", self._create, rw=True)
        wraps.check_round_trip(self, f"the key {self._root.root_key_id}")

    def credential_end(self) -> CredentialEnd | None:
        """A warning if the token will lock itself soon: it counts wrong PINs, from any program that uses it."""
        with suppress(Exception):  # only good to know
            told = self._flags()
            flags: Any = type(told)
            for flag, notice in _PIN_FLAGS.items():
                if told & flags[flag]:
                    return ends.unknown(notice, self._clock.now())
        return None

    def _flags(self) -> Any:
        with _PROCESS_LOCK:
            return self._library().get_token(token_label=self._root.options["token"]).flags

    def _who(self) -> str:
        return f"user of the token {self._root.options['token']}"

    # ---- in a session ----------------------------------------------------------------------------

    def _find(self, session: Any) -> Any:
        from pkcs11 import Attribute, ObjectClass, exceptions

        wanted = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.LABEL: self._root.options["key"],
        }
        # all of them: the library's own get_key leaves a search open if there are two
        found = list(session.get_objects(wanted))
        if not found:
            raise exceptions.NoSuchKey
        if len(found) > 1:
            raise exceptions.MultipleObjectsReturned
        return found[0]

    def _is_missing(self, session: Any) -> bool:
        from pkcs11 import exceptions

        try:
            self._find(session)
        except exceptions.NoSuchKey:
            return True
        return False

    def _create(self, session: Any) -> None:
        if self._is_missing(session):
            _generate(session, self._root.options["key"], store=True)

    def _check_kept(self, kek: Any) -> None:
        """A key that can be taken out of the token is no root."""
        from pkcs11 import Attribute, KeyType

        fit = (kek.key_type, kek.key_length) == (KeyType.AES, _KEY_BITS)
        if not fit or kek[Attribute.EXTRACTABLE] or not kek[Attribute.SENSITIVE]:
            raise RootRefusedError(
                f"{self._root.root_key_id} is not an AES-256 key that stays in its token",
                hint="make one with --create-key under a new label, or with the vendor's tool:"
                " AES, 256 bits, sensitive, not extractable, encrypt and decrypt",
            )

    # ---- calls -----------------------------------------------------------------------------------

    def _call(self, action: str, call: Callable[[Any], T], *, rw: bool = False) -> T:
        """Run a call in a session; once more with the library begun anew if the token is not there."""
        from pkcs11.exceptions import PKCS11Error

        with _PROCESS_LOCK:
            try:
                return self._in_session(call, rw=rw)
            except (PKCS11Error, AttributeError) as error:
                if not _is_gone(error):
                    raise self._translated(action, error) from self._cause(error)
            try:
                self._library().reinitialize()
                return self._in_session(call, rw=rw)
            except (PKCS11Error, AttributeError) as error:
                raise self._translated(action, error) from self._cause(error)

    def _cause(self, error: Exception) -> Exception:
        return foreign_words.cause(error, *self._root.secrets.values())

    def _in_session(self, call: Callable[[Any], T], *, rw: bool) -> T:
        with self._session(rw=rw) as session:
            return call(session)

    def _session(self, *, rw: bool) -> AbstractContextManager[Any]:
        from pkcs11.exceptions import PinIncorrect

        if self._wrong_pins >= MAX_WRONG_PINS:
            raise self._bad_pin(
                "was wrong, and is not given again, so that the token is not locked"
            )
        module = self._root.options["module"]
        library = self._library()
        if _initialized_by.setdefault(module, os.getpid()) != os.getpid():
            # a library that was begun before a fork is of no use after it
            library.reinitialize()
            _initialized_by[module] = os.getpid()
        token = library.get_token(token_label=self._root.options["token"])
        try:
            opened: AbstractContextManager[Any] = token.open(
                rw=rw, user_pin=self._root.secrets["pin"].reveal().decode()
            )
        except PinIncorrect:
            self._wrong_pins += 1
            raise
        self._wrong_pins = 0
        return opened

    def _bad_pin(self, reason: str) -> RootRefusedError:
        return RootRefusedError(
            f"the PIN of {self._root.root_key_id} {reason}",
            hint=f"give the PIN of the {self._who()} with --pin-file, and unlock the token if it is locked",
        )

    def _translated(self, action: str, error: Exception) -> RootError:
        name, key = type(error).__name__, self._root.root_key_id
        said = foreign_words.of(error, *self._root.secrets.values())
        if name.startswith("Pin") or name == "UserPinNotInitialized":
            return self._bad_pin(f"is not accepted ({name})")
        if _NOT_LOADED in said:
            return RootRefusedError(
                f"the library for {key} cannot be loaded: {said}",
                hint="give the full path of the vendor's PKCS#11 library with --module",
            )
        told = _REFUSED.get(name)
        if told is not None:
            return RootRefusedError(f"cannot {action} with {key}: {told[0]}", hint=told[1])
        return RootUnavailableError(
            f"the token cannot {action} now with {key}: {name if said == name else f'{name} {said}'}",
            hint="it is tried again by itself; check that the token is there, its power and network,"
            " and the library's own configuration",
        )


#: Name of an error of the library → what it means, and what to do.
_REFUSED = {
    "NoSuchKey": (
        "there is no such key in the token",
        "compare token and label with 'pkcs11-tool --list-objects', or use --create-key",
    ),
    "MultipleObjectsReturned": ("several keys have this label", "make the label unique"),
    "MultipleTokensReturned": ("several tokens have this label", "make the label unique"),
    # python-pkcs11 raises it for a key whose usage does not allow the operation
    "AttributeError": (
        "the key is disabled: its attributes do not allow it",
        "set CKA_ENCRYPT and CKA_DECRYPT of the key",
    ),
    "KeyTypeInconsistent": ("it is not an AES key", "make an AES key of 256 bits"),
    "MechanismInvalid": ("the token has no AES-GCM", "use a token with CKM_AES_GCM"),
    "MechanismParamInvalid": (
        "the token does not take our AES-GCM parameters",
        "use a token that takes a nonce from outside",
    ),
    "FunctionNotSupported": ("the token does not support it", "use a token with CKM_AES_GCM"),
    "TokenWriteProtected": ("the token is write-protected", "make the key with the vendor's tool"),
}


#: Flag of a token, the worst first → what to do.
_PIN_FLAGS = {
    "USER_PIN_LOCKED": "the token has locked its user PIN; unlock it by the security officer's",
    "USER_PIN_FINAL_TRY": "one more wrong PIN locks the token; find out who gives wrong ones",
    "USER_PIN_COUNT_LOW": "wrong PINs were given to the token since the last right one; find out by whom",
    "USER_PIN_TO_BE_CHANGED": "the token wants its user PIN changed; change it, and give it to the same command",
}


def _is_gone(error: Exception) -> bool:
    """Whether a new session may help: the token was removed for a while, or the library lost its session."""
    name = type(error).__name__
    return (
        name not in _REFUSED
        and not name.startswith("Pin")
        and _NOT_LOADED not in foreign_words.of(error)
    )


def _generate(session: Any, label: str, *, store: bool) -> Any:
    from pkcs11 import Attribute, KeyType

    template = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
    return session.generate_key(KeyType.AES, _KEY_BITS, label=label, store=store, template=template)


def _try_out(session: Any) -> None:
    """Whether the token could do it: by a key that ends with the session."""
    key, gcm = _generate(session, "trial", store=False), _gcm(bytes(_NONCE_BYTES), _TRIAL)
    if bytes(key.decrypt(bytes(key.encrypt(_TRIAL, **gcm)), **gcm)) != _TRIAL:
        raise RootError("a key of the token gave back other bytes")


def _gcm(nonce: bytes, aad: bytes) -> dict[str, Any]:
    from pkcs11 import GCMParams, Mechanism

    return {
        "mechanism": Mechanism.AES_GCM,
        "mechanism_param": GCMParams(nonce, aad=aad, tag_bits=_TAG_BITS),
    }
