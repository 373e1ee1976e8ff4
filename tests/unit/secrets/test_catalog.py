"""The registry of secret parameters: C-01."""

import pytest

from strongroom.consumers import registry
from strongroom.consumers.kinds import ConsumerKind, Password
from strongroom.secrets import catalog
from strongroom.secrets.catalog import SECRETS, SecretOrigin


def test_the_seeds_list_34() -> None:
    assert len(SECRETS.keys() - catalog.OWN) == 34
    assert set(SECRETS) >= catalog.OWN


def test_origins() -> None:
    """C-01: the two categories."""
    admin = {name for name, one in SECRETS.items() if one.origin is SecretOrigin.ADMIN}
    assert len(admin) == 16
    assert {"svcmonitor.notification.smtp.password", "service.runas.password"} <= admin


def test_every_entry_says_who_uses_it() -> None:
    assert all(one.consumer and one.name == name for name, one in SECRETS.items())


@pytest.mark.parametrize(
    "name",
    [
        *SECRETS,
        "my.password",
        "my_password",
        "my.passphrase",
        "my.client_secret",
        "my.key.file_bytes",
        "my.cert.bytes",
        "MY.PASSWORD",
    ],
)
def test_secret(name: str) -> None:
    assert catalog.is_secret(name)


@pytest.mark.parametrize("name", ["backgrounder.querylimit", "password.length", "gateway.timeout"])
def test_not_secret(name: str) -> None:
    assert not catalog.is_secret(name)
    assert not catalog.is_key_material(name)
    assert not catalog.is_multiline(name)


def test_key_material() -> None:
    """Q-13."""
    material = {name for name in SECRETS if catalog.is_key_material(name)}
    assert material == {
        "kms.persistent_store",
        *catalog.OWN,
        "ssl.key.file_bytes",
        "indexandsearchserver.ssl.root.key.file_bytes",
        "indexandsearchserver.ssl.admin.key.file_bytes",
        "indexandsearchserver.ssl.node.key.file_bytes",
    }
    assert catalog.is_key_material("other.KEY.file_bytes")


def test_key_hierarchy() -> None:
    hierarchy = {name for name in SECRETS if catalog.is_key_hierarchy(name)}
    assert hierarchy == {"kms.persistent_store", *catalog.OWN}
    assert {"kms.previous_store", "asset.keys"} <= hierarchy
    assert not catalog.is_key_hierarchy("other.key.file_bytes")


def test_line_breaks_belong_to_pem_not_to_passwords() -> None:
    assert catalog.is_multiline("ssl.cert.file_bytes")
    assert catalog.is_multiline("other.key.file_bytes")
    assert not catalog.is_multiline("redis.password")
    assert not catalog.is_multiline("other.password")


def test_a_component_brings_the_secrets_that_exist_for_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = ConsumerKind(
        "toy",
        (),
        lambda *_: (),
        (
            Password("toy.own_password", "a toy", is_generated=True),
            Password("toy.other_password", "a toy", is_generated=False),
        ),
    )
    monkeypatch.setattr(registry, "kinds", lambda: (kind,))
    found = dict(catalog._of_components())
    assert {name: one.origin for name, one in found.items()} == {
        "toy.own_password": SecretOrigin.GENERATED,
        "toy.other_password": SecretOrigin.ADMIN,
    }
    assert all(one.consumer == "a toy" for one in found.values())
