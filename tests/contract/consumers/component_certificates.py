"""The internal certificates in a directory, and `openssl verify` as the eye."""

import secrets
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from strongroom.consumers.base import Credential
from strongroom.consumers.certificates_files import BUNDLE, PARAMETERS, STEM, CertificatesConsumer
from strongroom.secrets import generate
from strongroom.system.compat import override
from tests.contract.consumers.harness import Address, ConsumerLab


@dataclass
class CertificatesLab(ConsumerLab):
    """Files: nothing to miss, and nothing on its way that could be cut."""

    folder: Path
    ends_sessions = False
    keeps_plaintext = True
    over_network = False
    silent = frozenset({"admit", "login", "withdraw"})

    @property
    def directory(self) -> Path:
        return self.folder / "ssl"

    @property
    @override
    def address(self) -> Address:
        return str(self.directory)

    @override
    def consumer(
        self, *, address: Address | None = None, wrong_administrator: bool = False
    ) -> CertificatesConsumer:
        return CertificatesConsumer(
            self.folder / "elsewhere" if wrong_administrator else self.directory
        )

    @override
    def reset(self) -> Credential:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(mode=0o700)
        present = new_chain()
        root = present.values[f"{STEM}.root.cert.bytes"].reveal()
        (self.directory / BUNDLE).write_bytes(root)
        return present

    @override
    def fresh(self, present: Credential) -> Credential:
        return new_chain()

    @override
    def accepts(self, credential: Credential) -> bool:
        return all(
            self._verify(credential, role, purpose)
            for role, purpose in (("node", "sslserver"), ("admin", "sslclient"))
        )

    def _verify(self, credential: Credential, role: str, purpose: str) -> bool:
        leaf = self.folder / f"eye-{role}.pem"
        leaf.write_bytes(credential.values[f"{STEM}.{role}.cert.bytes"].reveal())
        bundle = next(self.folder.glob(f"*/{BUNDLE}"))  # wherever the directory was moved
        command = ["openssl", "verify", "-x509_strict", "-no-CApath", "-no-CAstore"]
        words = ["-purpose", purpose, "-CAfile", str(bundle), str(leaf)]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "verification failed" in done.stderr, done.stderr
        return done.returncode == 0

    @override
    @contextmanager
    def session(self, credential: Credential) -> Iterator[Callable[[], bool]]:
        """A TLS session of node and administrator, which no later change of trust ends."""
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        bundle = (self.directory / BUNDLE).read_text()
        client = ssl.create_default_context(cadata=bundle).wrap_bio(
            down, up, server_hostname="localhost"
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        node = self.folder / "eye-server.pem"
        parts = (f"{STEM}.node.cert.bytes", f"{STEM}.node.key.file_bytes")
        node.write_bytes(b"".join(credential.values[part].reveal() for part in parts))
        context.load_cert_chain(node)
        node.unlink()
        server = context.wrap_bio(up, down, server_side=True)
        for side in (client, server, client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue

        def works() -> bool:
            word = secrets.token_bytes(8)
            client.write(word)
            return server.read(8) == word

        yield works

    @override
    @contextmanager
    def down(self) -> Iterator[None]:
        yield

    @override
    @contextmanager
    def hung(self) -> Iterator[None]:
        yield

    @override
    @contextmanager
    def refusing(self) -> Iterator[None]:
        aside = self.folder / "aside"
        self.directory.rename(aside)
        self.directory.touch()
        try:
            yield
        finally:
            self.directory.unlink()
            aside.rename(self.directory)

    @override
    def kill(self) -> None:
        """Files have no process."""

    @override
    def traces(self) -> Iterable[bytes]:
        for path in self.folder.rglob("*"):
            if path.is_file():
                yield path.read_bytes()

    @override
    def forbidden(self, credential: Credential) -> list[bytes]:
        """The root's key alone: the others are what the files are for."""
        return [credential.values[f"{STEM}.root.key.file_bytes"].reveal()]


def new_chain() -> Credential:
    return Credential(generate.new_values(PARAMETERS, datetime.now(UTC)))


@contextmanager
def start(folder: Path) -> Iterator[CertificatesLab]:
    yield CertificatesLab(folder)
