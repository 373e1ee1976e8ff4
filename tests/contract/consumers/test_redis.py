"""What is Redis' own: TLS, a file that cannot be written, an address that would get the password in the clear."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.consumers.base import Credential, file_copy
from strongroom.consumers.redis_server import RedisSettings
from strongroom.consumers.redis_user import PARAMETER, RedisConsumer
from strongroom.crypto import rng
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)
from tests.support.components.process import Component
from tests.support.components.redis import acl_hash, running_redis
from tests.support.emulators import free_port
from tests.support.tls import Authority

USER = "strongroom"


def consumer(**settings: str | int) -> RedisConsumer:
    return RedisConsumer(RedisSettings(USER, **settings), lambda _: ())  # type: ignore[arg-type]


def credential() -> Credential:
    return Credential({PARAMETER: rng.new_password()})


def line_of(present: Credential) -> str:
    return f"user {USER} on {acl_hash(present.only().reveal().decode())} ~* &* +@all"


@pytest.mark.parametrize("host", ["redis.example.org", "192.0.2.1", "::2"])
def test_a_password_is_not_sent_in_the_clear_to_another_machine(host: str) -> None:
    with pytest.raises(UsageError, match="unencrypted"):
        consumer(host=host)
    consumer(host=host, ca_file="ca.pem")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_this_machine_needs_no_tls(host: str) -> None:
    assert host in consumer(host=host).describe().where


@contextmanager
def serving_tls(folder: Path, *acl: str) -> Iterator[int]:
    """Redis behind TLS only."""
    Authority(folder)
    port = free_port()
    (folder / "users.acl").write_text("\n".join(acl) + "\n")
    settings = [f"bind 127.0.0.1\nport 0\ntls-port {port}\ntls-auth-clients no"]
    settings += [f"tls-cert-file {folder}/server.pem", f"tls-key-file {folder}/server.pem"]
    settings += [f"tls-ca-cert-file {folder}/ca.pem", f"aclfile {folder}/users.acl"]
    settings += [f"dir {folder}", 'save ""']
    (folder / "redis.conf").write_text("\n".join(settings) + "\n")
    command: list[str | Path] = ["redis-server", folder / "redis.conf"]
    component = Component(command, folder, lambda: _listens(port))
    with component.running():
        yield port


def test_a_rotation_over_tls(tmp_path: Path) -> None:
    """And whoever cannot show a certificate of the authority is told nothing."""
    present, new = credential(), credential()
    with serving_tls(tmp_path, "user default off", line_of(present)) as port:
        ours = consumer(host="localhost", port=port, ca_file=str(tmp_path / "ca.pem"))
        ours.admit(new, present)
        ours.login(present)
        ours.withdraw(present, new)
        ours.login(new)
        with pytest.raises(ConsumerRefusedError):
            ours.login(present)
        other = tmp_path / "other"
        other.mkdir()
        Authority(other)
        stranger = consumer(host="localhost", port=port, ca_file=str(other / "ca.pem"))
        with pytest.raises(ConsumerUnavailableError):
            stranger.login(new)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_a_file_that_cannot_be_written_stops_the_change_before_it_is_made(tmp_path: Path) -> None:
    """Else the new password would be gone with the process, and the configuration would not know."""
    present, new = credential(), credential()
    with running_redis("user default off", line_of(present)) as server:
        ours = consumer(socket=str(server.socket), acl_file=str(server.acl_file))
        server.acl_file.unlink()
        server.acl_file.mkdir()
        with pytest.raises(ConsumerRefusedError, match="refused a command") as caught:
            ours.admit(new, present)
        assert "aclfile" in caught.value.hint
        ours.login(present)
        with pytest.raises(ConsumerRefusedError):
            ours.login(new)
        server.acl_file.rmdir()
        ours.admit(new, present)
        ours.login(new)


def test_another_known_password_opens_the_door(tmp_path: Path) -> None:
    """Set by hand in the configuration: what was valid before is tried, too."""
    valid, believed, new = credential(), credential(), credential()
    with running_redis("user default off", line_of(valid)) as server:
        settings = RedisSettings(USER, socket=str(server.socket))
        RedisConsumer(settings, lambda _: (valid.only(),)).admit(new, believed)
        consumer(socket=str(server.socket)).login(new)


def test_without_the_client_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConsumerError, match="not installed") as caught:
        consumer(socket="/none").login(credential())
    assert "strongroom[redis]" in caught.value.hint


def test_the_inventory_without_a_known_file() -> None:
    (copy,) = consumer(socket="/run/redis.sock").copies()
    assert (copy.path, copy.form, copy.mode) == ("the ACL file of /run/redis.sock", "hash", "")


def test_a_file_of_an_owner_without_a_name_and_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "users.acl"
    assert file_copy(("a",), path, "hash").mode == ""
    path.touch(mode=0o640)
    path.chmod(0o640)

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    copy = file_copy(("a",), path, "hash")
    assert (copy.mode, copy.owner) == ("0640", str(path.stat().st_uid))
