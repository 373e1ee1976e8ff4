"""A real OpenBao that keeps its storage in a folder and unseals itself by a key of the Vault door (`seal "transit"`)."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.components.process import Component
from tests.support.emulators import answers, bao, free_port
from tests.support.vault_door import VaultDoor
from tests.support.vault_programs import Program

_CONFIGURATION = """\
storage "raft" {{
  path                   = "{folder}/data"
  node_id                = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address     = "127.0.0.1:{port}"
  tls_disable = true
}}
seal "transit" {{
  address    = "{door}"
  token      = "{token}"
  mount_path = "transit/"
  key_name   = "{key}"
}}
api_addr     = "{url}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
"""


@dataclass
class UnsealedBao:
    """The server, and its command line with its root token once it was initialised."""

    server: Component
    tool: Program
    url: str

    def initialize(self) -> None:
        """Begin its storage; whoever has the door's key unseals it from now on."""
        options = ["-recovery-shares=1", "-recovery-threshold=1", "-format=json"]
        made = json.loads(self.tool.run("operator", "init", *options).out)
        self.tool = Program(
            self.tool.path,
            self.tool.folder,
            token=made["root_token"],
            variables=self.tool.variables,
        )

    @property
    def is_sealed(self) -> bool:
        """Whether it says that it is sealed."""
        with urllib.request.urlopen(f"{self.url}/v1/sys/seal-status", timeout=10) as answer:
            return bool(json.load(answer)["sealed"])

    @property
    def serves(self) -> bool:
        """Whether it is unsealed, and does its work."""
        return answers(f"{self.url}/v1/sys/health")


@contextmanager
def unsealed_bao(folder: Path, door: VaultDoor, key: str, token: str) -> Iterator[UnsealedBao]:
    """A new one, started, ended at the end of the block."""
    port, cluster_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    (folder / "data").mkdir()
    settings = folder / "bao.hcl"
    settings.touch(0o600)
    settings.write_text(
        _CONFIGURATION.format(
            folder=folder,
            port=port,
            cluster_port=cluster_port,
            url=url,
            door=door.url,
            token=token,
            key=key,
        )
    )
    command = [str(bao()), "server", f"-config={settings}"]
    server = Component(command, folder, lambda: answers(f"{url}/v1/sys/seal-status"))
    tool = Program(bao(), folder, variables={"BAO_ADDR": url})
    with server.running():
        yield UnsealedBao(server, tool, url)
