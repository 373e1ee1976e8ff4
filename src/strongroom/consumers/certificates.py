"""The internal certificates as files of the index and search server (requirements 2.4): a chain that is never untrusted.

Three files in one directory: `root-bundle.pem` (whom to trust), `admin.pem` and `node.pem` (certificate and key). A new
root is trusted beside the old one before anything shows a certificate of it, and the old one goes last. Each file is
either its old or its new contents. The root's own key is written nowhere: nobody but the rotation signs.
"""

import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom import durable
from strongroom.consumers.base import ConsumerDescription, Credential, SecretCopy, file_copy
from strongroom.errors import ConsumerRefusedError, StorageError

STEM = "indexandsearchserver.ssl"
PARAMETERS = tuple(
    f"{STEM}.{role}.{part}"
    for role in ("admin", "node", "root")
    for part in ("cert.bytes", "key.file_bytes")
)
BUNDLE = "root-bundle.pem"
_NAME = "localhost"
"""What the internal certificates are issued to."""
_MAX_BUNDLE_BYTES = 64 << 10
_TURNS = 10
"""A handshake takes four."""
_HINT = "docs/howto/consumers.md says what the directory must be like"


class CertificatesConsumer:
    """The chain of the internal authority, and the files that hold it."""

    def __init__(self, directory: Path) -> None:
        """Take the directory, which must exist when it is written to."""
        self._directory = directory

    def describe(self) -> ConsumerDescription:
        """Two roots are trusted at once."""
        return ConsumerDescription(
            "certificates/indexandsearchserver", "certificates", PARAMETERS, str(self._directory)
        )

    def admit(self, new: Credential, present: Credential) -> None:
        """Both roots are trusted; certificates stay those of the present one."""
        roots = (_certificate(present, "root"), _certificate(new, "root"))
        with self._written() as access:
            self._write(BUNDLE, b"".join(dict.fromkeys(roots)), access)

    def login(self, credential: Credential) -> None:
        """A TLS handshake between a node and an administrator of this chain, both trusting the bundle as it lies there."""
        server = self._context(ssl.PROTOCOL_TLS_SERVER, _pair(credential, "node"))
        client = self._context(ssl.PROTOCOL_TLS_CLIENT, _pair(credential, "admin"))
        try:
            ended = _shake_hands(server, client)
        except ssl.SSLError as error:
            raise self._refused(f"does not trust this chain ({error.reason})") from error
        if not ended:
            raise self._refused("was not asked: the handshake did not end")

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Node and administrator show the present chain; then only its root is trusted."""
        del old
        with self._written() as access:
            for role in ("node", "admin"):
                self._write(f"{role}.pem", _pair(present, role), access)
            self._write(BUNDLE, _certificate(present, "root"), access)

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
    def _written(self) -> Iterator[durable.Access]:
        """Who may read what is written: the directory's group, if that may enter it."""
        try:
            found = self._directory.stat(follow_symlinks=False)
        except OSError as error:
            raise self._refused(f"cannot be used: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_mode & stat.S_IWOTH:
            raise self._refused("is not a directory that only its owner and group write to")
        may_enter = found.st_mode & stat.S_IXGRP
        access = durable.shared_with(found.st_gid) if may_enter else durable.PRIVATE
        try:
            yield access
        except StorageError as error:
            raise self._refused(f"cannot be written: {error.message}") from error

    def _write(self, name: str, data: bytes, access: durable.Access) -> None:
        durable.write_file(self._directory / name, data, access)

    def _bundle(self) -> str:
        try:
            with (self._directory / BUNDLE).open("rb") as file:
                return file.read(_MAX_BUNDLE_BYTES).decode("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise self._refused(f"has no {BUNDLE} that can be read") from error

    # ---- handshakes ------------------------------------------------------------------------------

    def _context(self, side: int, pair: bytes) -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=self._bundle())
            with durable.in_memory(pair) as path:
                context.load_cert_chain(path)
        except (ssl.SSLError, ValueError) as error:
            raise self._refused("or the chain is damaged") from error
        return context

    def _refused(self, what: str) -> ConsumerRefusedError:
        return ConsumerRefusedError(f"{self._directory} {what}", hint=_HINT)


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
