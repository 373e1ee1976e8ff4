"""OpenBao: a real server; an AppRole whose policy allows the two paths of the two keys, and nothing else.

Between hvac and the server stands a server with faults, over TLS.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.roots import openbao
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests.contract.roots.harness import FrontedLab, Told, Unfit, before
from tests.support import emulators, fault_server
from tests.support.emulators import Bao
from tests.support.fault_server import Fault, FaultServer, Response
from tests.support.tls import Authority

KEY, OTHER, DERIVED = "rmk-root", "another", "derived"
ROLE = POLICY = "strongroom"
# the least policy, as docs/howto/root-openbao.md has it
PATHS = ("datakey/plaintext", "decrypt")
ANSWERS = {Fault.THROTTLED: Response(429, json.dumps({"errors": ["too many"]}).encode())}


class OpenbaoLab(FrontedLab):
    """Three transit keys: ours, another one, and a derived one."""

    form = "indirect"
    unfit: ClassVar[Unfit] = {
        Fault.WRONG_REGION: "the address names one server: there is no region that could be wrong",
    }

    def __init__(self, server: Bao, front: FaultServer, authority: Authority) -> None:
        import hvac

        self.server, self.front, self.authority = server, front, authority
        self.admin: Any = hvac.Client(url=server.url, token=server.token)
        self.admin.sys.enable_secrets_engine("transit")
        self.admin.sys.enable_auth_method("approle")
        lenient = {"user_lockout_config": {"lockout_disable": True}}
        self.admin.adapter.post("/v1/sys/auth/approle/tune", json=lenient)
        for name in (KEY, OTHER):
            self.transit.create_key(name, exportable=True, allow_plaintext_backup=True)
            self.transit.update_key_configuration(name, deletion_allowed=True)
        self.transit.create_key(DERIVED, derived=True)
        self.allow()
        roles = self.admin.auth.approle
        roles.create_or_update_approle(ROLE, token_policies=[POLICY], token_ttl="1h")
        self.role_id = roles.read_role_id(ROLE)["data"]["role_id"]
        self._secret_id = SecretBytes(roles.generate_secret_id(ROLE)["data"]["secret_id"].encode())
        self.settings, self.foreign_settings, self.derived = map(
            self.by_role, (KEY, OTHER, DERIVED)
        )

    @property
    def transit(self) -> Any:
        return self.admin.secrets.transit

    def by_role(self, key: str) -> RootSettings:
        """Settings with the AppRole."""
        return openbao.settings(
            self.front.url,
            key,
            role_id=self.role_id,
            secret_id=self._secret_id,
            ca_file=str(self.authority.ca_file),
        )

    def by_token(self, token: str) -> RootSettings:
        """Settings with a token."""
        ca_file = str(self.authority.ca_file)
        return openbao.settings(
            self.front.url, KEY, token=SecretBytes(token.encode()), ca_file=ca_file
        )

    def allow(self) -> None:
        """What the role may do."""
        paths = [f"transit/{path}/{key}" for path in PATHS for key in (KEY, OTHER, DERIVED)]
        rules = {path: {"capabilities": ["update"]} for path in paths}
        self.admin.sys.create_or_update_policy(POLICY, json.dumps({"path": rules}))

    @override
    def quicken(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(openbao, "MAX_WRONG_LOGINS", 1 << 30)  # this server locks nobody out

    @override
    def await_answers(self, seconds: float, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(openbao, "READ_S", seconds)

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        return openbao.build(settings or self.settings, SystemClock())

    @override
    def break_it(self, fault: Fault, undo: ExitStack) -> None:
        match fault:
            case Fault.REFUSED:
                self.admin.sys.delete_policy(POLICY)
                undo.callback(self.allow)
            case Fault.DISABLED | Fault.PENDING_DELETION:
                # one state stands for both: soft-deleted
                path = f"/v1/transit/keys/{KEY}/soft-delete"
                self.admin.adapter.delete(path)
                undo.callback(self.admin.adapter.post, f"{path}-restore")
            case Fault.MISSING:
                backup = self.transit.backup_key(KEY)["data"]["backup"]
                self.transit.delete_key(KEY)
                undo.callback(self.transit.restore_key, backup, name=KEY)
            case Fault.EXPIRED:
                self._end_the_role()
                undo.callback(self._renew_the_role)
            case Fault.SERVER_ERROR:
                self.admin.sys.seal()
                undo.callback(self.admin.sys.submit_unseal_key, self.server.unseal_key)
            case _:
                super().break_it(fault, undo)

    def _end_the_role(self) -> None:
        """Every token of it ends, and its secret id no longer gives new ones."""
        secret = self._secret_id.reveal().decode()
        self.admin.auth.approle.destroy_secret_id(ROLE, secret)
        self.admin.sys.revoke_prefix("auth/approle/login")

    def _renew_the_role(self) -> None:
        secret = self._secret_id.reveal().decode()
        self.admin.auth.approle.create_custom_secret_id(ROLE, secret)

    told: ClassVar[Told] = {
        Fault.REFUSED: ("AppRole ", "transit/", "policy", "permission denied"),
        Fault.DISABLED: ("soft-deleted", "restore"),
        Fault.PENDING_DELETION: ("soft-deleted", "restore"),
        Fault.EXPIRED: ("AppRole ", "secret id"),
        Fault.SERVER_ERROR: ("sealed", "unsealed"),
        Fault.MISSING: ("no such key",),
        Fault.THROTTLED: ("too many", "load"),
    }


@contextmanager
def start(folder: Path) -> Iterator[OpenbaoLab]:
    """OpenBao behind its front."""
    with ExitStack() as stack:
        server = stack.enter_context(emulators.openbao(folder))
        backend = fault_server.forward_to(server.url)
        yield OpenbaoLab(server, *stack.enter_context(before(backend, folder, ANSWERS)))
