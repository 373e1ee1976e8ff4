"""A TPM 2.0 as the root: it seals a data key that seals the RMK; the one door to tpm2-pytss.

The sealing parent is a primary key, made anew for each operation from the owner's seed: nothing is stored in
the TPM, and only this very TPM, not cleared, opens the wrap. Data goes over the bus in salted, encrypted
sessions. A seal binds no context: an inner one does (kms-store.md 1.3, indirect). A wrong password is tried
a few times only, since the TPM counts them and locks itself.

A TPM holds a handful of keys and sessions at once. Behind a resource manager (`/dev/tpmrm0`, tpm2-abrmd) each caller
has all of them for itself; without one, callers fill them for each other, and who comes too late waits.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from strongroom import foreign_words
from strongroom.clock import Clock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    UsageError,
)
from strongroom.roots import credentials, indirect, wraps
from strongroom.roots.base import Context, RootDescription, WrapRecord
from strongroom.roots.kinds import Given, Option, RootKind
from strongroom.roots.settings import RootSettings
from strongroom.system import os_users
from strongroom.system.extras import needed

T = TypeVar("T")

KIND = "tpm"
DEFAULT_TCTI = "device:/dev/tpmrm0"
#: A wrong password is given no more often to the TPM by one provider.
MAX_WRONG_AUTHS = 2
_MAX_AUTH_BYTES = 32
_TCTI = re.compile(r"[a-z]+(?::[A-Za-z0-9/._=,:-]+)?")
#: The TCTIs that are taken from a backup: others could load code or start a program of the backup's author's choice.
_TCTI_OF_BACKUP = re.compile(
    r"device:/dev/tpm(?:rm)?[0-9]+|(?:tabrmd|swtpm)(?::[A-Za-z0-9_.,=/-]*)?"
)
#: Errors of the TPM library specification, part 2, 6.6.3.
_AUTH_FAIL, _BAD_AUTH, _HIERARCHY, _LOCKOUT = 0x8E, 0xA2, 0x85, 0x921
#: No room for one more object, session or handle of either; a warning, after which the command may be given again.
_FULL = frozenset({0x902, 0x903, 0x904, 0x905, 0x906})
#: How long a full TPM is waited for, in seconds, and how long between two tries at most: by chance, so that two callers part.
FULL_S = 10.0
_PAUSE_S = 0.05
#: A TPM does one thing after the other, and without a resource manager for one caller.
_PROCESS_LOCK = threading.Lock()


def settings(tcti: str = "", *, auth: SecretBytes | None = None) -> RootSettings:
    """Checked settings; sends no request.

    Args:
        tcti: How to reach the TPM, in the terms of the TSS: `device:/dev/tpmrm0`.
        auth: A password that the sealed key is bound to as well.

    Raises:
        UsageError: No TCTI, or a password that is too long.
    """
    name = tcti.strip().strip("\"'") or DEFAULT_TCTI
    # the text after the colon may be a path of this machine, in which `..` is allowed
    if _TCTI.fullmatch(name) is None:
        raise UsageError(f"not a TCTI: {name!r}", hint=f"for example {DEFAULT_TCTI}")
    if auth is not None and not 0 < len(auth) <= _MAX_AUTH_BYTES:
        raise UsageError(f"a TPM takes a password of 1 to {_MAX_AUTH_BYTES} bytes")
    if auth is not None:
        credentials.checked(auth, "the password")
    return RootSettings(KIND, f"tpm:{name}", {"tcti": name}, {"auth": auth} if auth else {})


def build(root: RootSettings, clock: Clock) -> "TpmRoot":
    """The root with tpm2-pytss; the TPM is opened at the first call."""
    # the TSS writes each error to stderr by itself, and at a level of the environment whole buffers; it has no other
    # knob
    os.environ["TSS2_LOG"] = "all+NONE"  # noqa: TID251
    with needed("the TPM root needs tpm2-pytss", "tpm", RootError):
        import tpm2_pytss
    return TpmRoot(lambda: tpm2_pytss.ESAPI(root.options["tcti"]), root, clock)


def of_options(given: Given) -> RootSettings:
    """The settings of a command line."""
    return settings(given.text("--tcti"), auth=given.credential("--auth-file", "the password"))


def of_backup(root: RootSettings) -> RootSettings | None:
    """The settings that a backup names; None of a TCTI that would run code of its choice."""
    if _TCTI_OF_BACKUP.fullmatch(root.options["tcti"]) is None:
        return None
    return settings(root.options["tcti"], auth=root.secrets.get("auth"))


ROOT = RootKind(
    KIND,
    build,
    title="TPM",
    options=(
        Option("--tcti", "TCTI", f"address of the TPM; default: {DEFAULT_TCTI}"),
        Option("--auth-file", "FILE", "file with a password for the sealed key; - is stdin"),
    ),
    of_options=of_options,
    version=r"(?P<key>.*)/[0-9a-f]{8,}",
    of_backup=of_backup,
)


class _TpmFullError(RootUnavailableError):
    """The TPM has no room for one more key or session at the moment."""


class TpmRoot:
    """Wraps the RMK by a key that one TPM sealed."""

    def __init__(self, connect: Callable[[], Any], root: RootSettings, clock: Clock) -> None:
        """Build the root.

        Args:
            connect: Opens the TPM; gives a context of ESAPI.
            root: The settings of the root.
            clock: For the times in records.
        """
        self._connect = connect
        self._root = root
        self._clock = clock
        self._wrong_auths = 0

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """A fresh key of our own generator, and its wrap."""
        key = rng.new_key()
        return key, self.wrap(key, context)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Have a data key sealed; the record names the TPM by its primary key."""
        data_key = rng.new_key()

        def seal(tpm: Any, parent: Any, name: str) -> tuple[bytes, str]:
            with _session(tpm, parent) as session, self._step("seal"):
                sealed, public, *_ = tpm.create(
                    parent,
                    _sensitive(data_key, self._auth),
                    _template(self._auth),
                    session1=session,
                )
                return sealed.marshal() + public.marshal(), name

        blob, name = self._call(seal)
        inner = indirect.seal(key, data_key, context)
        key_id = f"{self._root.root_key_id}/{name}"
        return wraps.new_record(context, KIND, key_id, blob, self._clock, inner=inner)

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Have the data key unsealed, and open the inner seal.

        Raises:
            RootRefusedError: Another TPM made the record, or this one was cleared since.
        """
        own, theirs = self._root.root_key_id, record.root_key_id
        theirs_name = self._root.version_of(record)
        if not theirs_name:
            raise self._foreign(theirs, own)

        def unseal(tpm: Any, parent: Any, name: str) -> bytes:
            if theirs_name != name:
                raise self._foreign(theirs, f"{own}/{name}")
            handle = self._load(tpm, parent, record.blob)
            try:
                tpm.tr_set_auth(handle, self._auth)
                with _session(tpm, parent) as session, self._step("unseal"):
                    return bytes(tpm.unseal(handle, session1=session))
            finally:
                tpm.flush_context(handle)

        if self._wrong_auths >= MAX_WRONG_AUTHS:
            raise self._bad_auth("was wrong, and is not given again, so that the TPM is not locked")
        data_key = SecretBytes(self._call(unseal))
        self._wrong_auths = 0
        return indirect.open_(record, data_key)

    def describe(self) -> RootDescription:
        """How the TPM is reached; never the password."""
        words = "with a password" if self._auth else "without a password"
        details = {"tcti": self._root.options["tcti"], "identity": f"this machine, {words}"}
        return RootDescription(KIND, self._root.root_key_id, details)

    def check(self) -> None:
        """Wrap and unwrap a fresh key.

        Raises:
            RootError: The TPM does not do it, or gives back another key.
        """
        wraps.check_round_trip(self, f"the TPM {self._root.root_key_id}")

    @property
    def _auth(self) -> bytes:
        auth = self._root.secrets.get("auth")
        return auth.reveal() if auth else b""

    # ---- at the TPM ------------------------------------------------------------------------------

    def _call(self, work: Callable[[Any, Any, str], T]) -> T:
        """Do some work under the primary key; it is given its handle and its name.

        Raises:
            RootUnavailableError: Others fill the TPM for all of `FULL_S`, or it fails.
        """
        end = time.monotonic() + FULL_S
        while True:
            try:
                return self._attempt(work)
            except _TpmFullError:
                if time.monotonic() > end:
                    raise
            time.sleep(_PAUSE_S * rng.random_bytes(1)[0] / 255)

    def _attempt(self, work: Callable[[Any, Any, str], T]) -> T:
        from tpm2_pytss import ESYS_TR, TPM2B_SENSITIVE_CREATE

        with _PROCESS_LOCK:
            with self._step("open"):
                tpm = self._connect()
            with tpm, self._step("work"):
                with self._step("make the primary key"):
                    parent, public, *_ = tpm.create_primary(
                        TPM2B_SENSITIVE_CREATE(), _primary(), ESYS_TR.OWNER
                    )
                try:
                    return work(tpm, parent, bytes(public.get_name()).hex())
                finally:
                    tpm.flush_context(parent)

    def _load(self, tpm: Any, parent: Any, blob: bytes) -> Any:
        from tpm2_pytss import TPM2B_PRIVATE, TPM2B_PUBLIC
        from tpm2_pytss.TSS2_Exception import TSS2_Exception

        try:
            sealed, size = TPM2B_PRIVATE.unmarshal(blob)
            public, rest = TPM2B_PUBLIC.unmarshal(blob[size:])
            if size + rest != len(blob):
                raise IntegrityError
            return tpm.load(parent, sealed, public)
        except TSS2_Exception as error:
            if _is_tpm_word(error) or foreign_words.of(error).startswith("mu:"):
                raise IntegrityError from None
            raise self._translated("load", error) from self._cause(error)

    @contextmanager
    def _step(self, action: str) -> Iterator[None]:
        from tpm2_pytss.TSS2_Exception import TSS2_Exception

        try:
            yield
        except TSS2_Exception as error:
            raise self._translated(action, error) from self._cause(error)

    def _cause(self, error: Exception) -> Exception:
        return foreign_words.cause(error, self._auth)

    def _translated(self, action: str, error: Any) -> RootError:
        key, code = self._root.root_key_id, int(error.error)
        if code == _LOCKOUT:
            return RootRefusedError(
                f"the TPM {key} has locked itself after wrong passwords",
                hint="wait until it recovers, or clear the lockout: tpm2_dictionarylockout -c",
            )
        if code in {_AUTH_FAIL, _BAD_AUTH} and action == "unseal":
            self._wrong_auths += 1
            return self._bad_auth("is not accepted")
        if code in {_AUTH_FAIL, _BAD_AUTH}:
            return RootRefusedError(
                f"the TPM {key} does not let us {action}: its owner hierarchy has a password",
                hint="take the owner's password off: tpm2_changeauth -c owner -p <password>",
            )
        if code == _HIERARCHY:
            return RootRefusedError(
                f"the TPM {key} does not let us {action}: its owner hierarchy is disabled",
                hint="enable it in the firmware's settings (storage hierarchy)",
            )
        said = foreign_words.of(error, self._auth)
        if code & 0xFFFF in _FULL:
            return _TpmFullError(
                f"the TPM {key} cannot {action} now: other callers fill it: {said}",
                hint="reach it by a resource manager (--tcti device:/dev/tpmrm0, or tabrmd:); what a program that was"
                " killed has left in a TPM without one goes when the machine starts anew",
            )
        return RootUnavailableError(
            f"the TPM {key} cannot {action} now: {self._missing() or said}",
            hint=f"it is tried again by itself; {self._way_out()}",
        )

    def _device(self) -> str:
        """The device's path; empty for a TPM that is reached in another way."""
        kind, _, path = self._root.options["tcti"].partition(":")
        return path if kind == "device" else ""

    def _missing(self) -> str:
        """The reason why the device cannot be used, in words; empty if it exists and may be opened (findings D21)."""
        device = self._device()
        if device and not os.path.exists(device):  # noqa: PTH110 a path as text, as the TSS has it
            return f"this machine has no device {device}"
        if device and not os.access(device, os.R_OK | os.W_OK):
            return f"the user {os_users.user_name(os.geteuid())} may not open {device}"
        return ""

    def _way_out(self) -> str:
        device = self._device()
        if device and not os.path.exists(device):  # noqa: PTH110
            return (
                "switch the TPM on in the firmware's settings, or give the virtual machine one; 'ls /dev/tpm*' shows"
                " what there is; without a TPM choose another mode: tsm security kms set-mode --help"
            )
        return (
            "check that the device is there and that this user may open it (group tss), and --tcti"
        )

    def _bad_auth(self, reason: str) -> RootRefusedError:
        return RootRefusedError(
            f"the password for {self._root.root_key_id} {reason}",
            hint="set the mode again with the password's --auth-file",
        )

    def _foreign(self, theirs: str, own: str) -> RootRefusedError:
        return RootRefusedError(
            f"the RMK was sealed by {theirs}, not by {own}",
            hint="this is another machine, or its TPM was cleared: only another wrap opens the store",
        )


def _is_tpm_word(error: Any) -> bool:
    """Whether the error is the TPM's verdict on its input, not a failure of the device or a request to wait."""
    return bool(error.fmt1)


def _attributes(*names: str) -> Any:
    from tpm2_pytss import TPMA_OBJECT

    value = TPMA_OBJECT(0)
    for name in ("FIXEDTPM", "FIXEDPARENT", "USERWITHAUTH", *names):
        value |= getattr(TPMA_OBJECT, name)
    return value


def _primary() -> Any:
    """Template of the sealing parent: the same template and seed give the same key each time."""
    from tpm2_pytss import TPM2B_PUBLIC

    attributes = _attributes("SENSITIVEDATAORIGIN", "NODA", "RESTRICTED", "DECRYPT")
    return TPM2B_PUBLIC.parse("ecc256:aes128cfb", objectAttributes=attributes)


def _template(auth: bytes) -> Any:
    """The template of a sealed key; wrong passwords count towards a lockout only if there is one."""
    from tpm2_pytss import TPM2_ALG, TPM2B_PUBLIC, TPMT_PUBLIC

    attributes = _attributes() if auth else _attributes("NODA")
    made = TPM2B_PUBLIC(
        TPMT_PUBLIC(type=TPM2_ALG.KEYEDHASH, nameAlg=TPM2_ALG.SHA256, objectAttributes=attributes)
    )
    made.publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG.NULL
    return made


def _sensitive(key: SecretBytes, auth: bytes) -> Any:
    from tpm2_pytss import (
        TPM2B_AUTH,
        TPM2B_SENSITIVE_CREATE,
        TPM2B_SENSITIVE_DATA,
        TPMS_SENSITIVE_CREATE,
    )

    return TPM2B_SENSITIVE_CREATE(
        TPMS_SENSITIVE_CREATE(userAuth=TPM2B_AUTH(auth), data=TPM2B_SENSITIVE_DATA(key.reveal()))
    )


@contextmanager
def _session(tpm: Any, parent: Any) -> Iterator[Any]:
    """A session salted by the primary key: what goes over the bus is encrypted."""
    from tpm2_pytss import (
        ESYS_TR,
        TPM2_ALG,
        TPM2_SE,
        TPMA_SESSION,
        TPMT_SYM_DEF,
        TPMU_SYM_KEY_BITS,
        TPMU_SYM_MODE,
    )

    cipher = TPMT_SYM_DEF(
        algorithm=TPM2_ALG.AES,
        keyBits=TPMU_SYM_KEY_BITS(aes=128),
        mode=TPMU_SYM_MODE(aes=TPM2_ALG.CFB),
    )
    session = tpm.start_auth_session(
        tpm_key=parent,
        bind=ESYS_TR.NONE,
        session_type=TPM2_SE.HMAC,
        symmetric=cipher,
        auth_hash=TPM2_ALG.SHA256,
    )
    try:
        used = TPMA_SESSION.ENCRYPT | TPMA_SESSION.DECRYPT | TPMA_SESSION.CONTINUESESSION
        tpm.trsess_set_attributes(session, used)
        yield session
    finally:
        tpm.flush_context(session)
