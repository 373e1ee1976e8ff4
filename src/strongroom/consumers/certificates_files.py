"""The internal certificates as files of the index and search server, which are trusted at every moment of a rotation.

Three files in one directory: `root-bundle.pem` (the trusted roots), `admin.pem` and `node.pem` (certificate and key). A
new root is added to the bundle before a certificate of the new root is used, and the old root is removed last, so that
no client meets a certificate that it does not trust. Each file is replaced as a whole. The root's own key is written
nowhere: only the rotation signs with it.
"""

import os
import ssl
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom import foreign_words
from strongroom.consumers.base import ConsumerDescription, Credential, SecretCopy, file_copy
from strongroom.errors import ConsumerRefusedError, StorageError
from strongroom.system import disk, durable

STEM = "indexandsearchserver.ssl"
PARAMETERS = tuple(
    f"{STEM}.{role}.{part}"
    for role in ("admin", "node", "root")
    for part in ("cert.bytes", "key.file_bytes")
)
BUNDLE = "root-bundle.pem"
FILES = (BUNDLE, "admin.pem", "node.pem")
_NAME = "localhost"
"""The host name that the internal certificates are issued to."""
_MAX_BUNDLE_BYTES = 64 << 10
_LARGEST_FILE = 16 << 10
"""More than any of the files has. So many bytes are written to a probe first, to find a full disk before any exchange."""
_TURNS = 10
"""The most turns of a handshake that are tried; a handshake takes four."""
_HINT = "docs/howto/consumers.md says what the directory must be like"


class CertificatesConsumer:
    """The chain of the internal authority, and the files that hold it."""

    def __init__(self, directory: Path) -> None:
        """Remember the directory, which must exist by the first write."""
        self._directory = directory

    def describe(self) -> ConsumerDescription:
        """Two roots are trusted at once."""
        return ConsumerDescription(
            "certificates/indexandsearchserver", "certificates", PARAMETERS, str(self._directory)
        )

    def admit(self, new: Credential, present: Credential) -> None:
        """Both roots are trusted; certificates stay those of the present one."""
        roots = (_certificate(present, "root"), _certificate(new, "root"))
        with self._written() as file_modes:
            self._check_writable()
            self._write(BUNDLE, b"".join(dict.fromkeys(roots)), file_modes)

    def login(self, credential: Credential) -> None:
        """Do a TLS handshake between the node and the administrator of this chain, which both trust the present bundle."""
        server = self._context(ssl.PROTOCOL_TLS_SERVER, _pair(credential, "node"))
        client = self._context(ssl.PROTOCOL_TLS_CLIENT, _pair(credential, "admin"))
        try:
            ended = _shake_hands(server, client)
        except ssl.SSLError as error:
            said = foreign_words.of(error.reason or error, *credential.values.values())
            raise self._refused(f"does not trust this chain ({said})") from None
        if not ended:
            raise self._refused("was not asked: the handshake did not end")

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Write the present certificates of node and administrator; after that, trust only their root."""
        del old
        with self._written() as file_modes:
            for role in ("node", "admin"):
                self._write(f"{role}.pem", _pair(present, role), file_modes)
            self._write(BUNDLE, _certificate(present, "root"), file_modes)

    def take_back(self, new: Credential, present: Credential) -> None:
        """Trust only the present root; no certificate of the other root was in use so far."""
        del new
        with self._written() as file_modes:
            self._write(BUNDLE, _certificate(present, "root"), file_modes)

    def remarks(self) -> tuple[str, ...]:
        """None."""
        return ()

    def copies(self) -> tuple[SecretCopy, ...]:
        """The three files."""
        public = (f"{STEM}.root.cert.bytes",)
        return (
            file_copy(public, self._directory / BUNDLE, "public"),
            *(
                file_copy(
                    (f"{STEM}.{role}.cert.bytes", f"{STEM}.{role}.key.file_bytes"),
                    self._directory / f"{role}.pem",
                    "plaintext",
                )
                for role in ("admin", "node")
            ),
        )

    # ---- files -----------------------------------------------------------------------------------

    @contextmanager
    def _written(self) -> Iterator[durable.FileModes]:
        """The mode and group of new files: readable by the directory's group, if the group may enter the directory."""
        try:
            found = self._directory.stat(follow_symlinks=False)
        except OSError as error:
            raise self._refused(
                f"cannot be used: {_reason(error)}", disk.hint_for(error, _HINT)
            ) from None
        if not stat.S_ISDIR(found.st_mode) or found.st_mode & stat.S_IWOTH:
            raise self._refused("is not a directory that only its owner and group write to")
        may_enter = found.st_mode & stat.S_IXGRP
        file_modes = durable.shared_with(found.st_gid) if may_enter else durable.PRIVATE
        try:
            yield file_modes
        except StorageError as error:
            raise self._refused(
                f"cannot be written: {error.message}", error.hint or _HINT
            ) from error

    def _check_writable(self) -> None:
        """Refuse if any of the files cannot be replaced, since a rotation would stop between two files (findings K6)."""
        directory = self._directory.stat()
        for name in FILES:
            path = self._directory / name
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(found.st_mode):
                raise self._refused(f"cannot be written: {name} is a directory")
            ours = {0, found.st_uid, directory.st_uid}
            if directory.st_mode & stat.S_ISVTX and os.geteuid() not in ours:
                raise self._refused(
                    f"cannot be written: {name} is another user's, and it is sticky"
                )
        try:
            with tempfile.TemporaryFile(dir=self._directory) as probe:
                probe.write(bytes(_LARGEST_FILE))
        except OSError as error:
            raise self._refused(
                f"cannot be written: {_reason(error)}", disk.hint_for(error, _HINT)
            ) from None

    def _write(self, name: str, data: bytes, file_modes: durable.FileModes) -> None:
        durable.write_file(self._directory / name, data, file_modes)

    def _bundle(self) -> str:
        try:
            with (self._directory / BUNDLE).open("rb") as file:
                return file.read(_MAX_BUNDLE_BYTES).decode("ascii")
        except (OSError, UnicodeDecodeError):
            raise self._refused(f"has no {BUNDLE} that can be read") from None

    # ---- handshakes ------------------------------------------------------------------------------

    def _context(self, side: int, pair: bytes) -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=self._bundle())
            with durable.in_memory(pair) as path:
                context.load_cert_chain(path)
        except (ssl.SSLError, ValueError):
            # the cause would name what is in the chain
            raise self._refused("or the chain is damaged") from None
        return context

    def _refused(self, what: str, hint: str = _HINT) -> ConsumerRefusedError:
        return ConsumerRefusedError(f"{self._directory} {what}", hint=hint)


def _reason(error: OSError) -> str:
    return foreign_words.of(os.strerror(error.errno) if error.errno else error)


def _certificate(credential: Credential, role: str) -> bytes:
    return credential.values[f"{STEM}.{role}.cert.bytes"].reveal().strip() + b"\n"


def _pair(credential: Credential, role: str) -> bytes:
    key = credential.values[f"{STEM}.{role}.key.file_bytes"].reveal().strip()
    return _certificate(credential, role) + key + b"\n"


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Both sides in this process, over two buffers; whether both came to the end."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(down, up, server_hostname=_NAME),
        server.wrap_bio(up, down, server_side=True),
    ]
    waiting = set(sides)
    for _ in range(_TURNS):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.discard(side)
    return not waiting
