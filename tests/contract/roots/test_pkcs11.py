"""PKCS#11: what only a token does; against SoftHSM."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from strongroom.clock import SystemClock
from strongroom.errors import RootError, RootRefusedError
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.roots import pkcs11
from strongroom.roots.base import Context
from tests.contract.roots import provider_pkcs11
from tests.contract.roots.provider_pkcs11 import KEY, MODULE, TOKEN, WRONG, Pkcs11Lab
from tests.support.fault_server import Fault

softhsm = pytest.mark.parametrize("lab", ["pkcs11"], indirect=True)


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


@softhsm
def test_a_wrong_pin_is_not_given_until_the_token_is_locked(
    lab: Pkcs11Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs11, "MAX_WRONG_PINS", 2)
    root = lab.root(lab.of(KEY, create=False, pin=WRONG))
    for words in ("is not accepted", "is not accepted", "is not given again", "is not given again"):
        with pytest.raises(RootRefusedError, match=words) as caught:
            root.check()
        assert WRONG not in f"{caught.value.message}{caught.value.hint}"
        assert "--pin-file" in caught.value.hint
    lab.root().check()


@softhsm
def test_a_key_that_was_made_stays_in_the_token(lab: Pkcs11Lab) -> None:
    from pkcs11 import Attribute, exceptions

    def look(session: Any) -> None:
        key = session.get_key(label=KEY)
        assert (key[Attribute.SENSITIVE], key[Attribute.EXTRACTABLE]) == (True, False)
        with pytest.raises(exceptions.AttributeSensitive):
            key[Attribute.VALUE]

    lab.operate(look)


@softhsm
@pytest.mark.parametrize(
    ("bits", "kept"), [(256, False), (128, True)], ids=["extractable", "128 bits"]
)
def test_a_key_that_is_no_root_is_refused(lab: Pkcs11Lab, bits: int, kept: bool) -> None:
    from pkcs11 import Attribute, KeyType

    label = f"unfit {bits}"
    template = {Attribute.SENSITIVE: kept, Attribute.EXTRACTABLE: not kept}
    lab.operate(
        lambda session: session.generate_key(
            KeyType.AES, bits, label=label, store=True, template=template
        )
    )
    with pytest.raises(RootRefusedError, match="not an AES-256 key that stays"):
        lab.root(lab.of(label, create=True)).check()


@softhsm
def test_labels_that_are_not_unique_are_refused(lab: Pkcs11Lab) -> None:
    from pkcs11 import KeyType

    for _ in range(2):
        lab.operate(
            lambda session: session.generate_key(KeyType.AES, 256, label="twice", store=True)
        )
    with pytest.raises(RootRefusedError, match="several keys have this label"):
        lab.root(lab.of("twice", create=False)).check()


@softhsm
def test_the_library_is_begun_anew_after_a_fork(
    lab: Pkcs11Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = lab.root()
    key, record = root.generate_data_key(fresh())
    monkeypatch.setitem(pkcs11._initialized_by, MODULE, os.getppid())
    assert root.unwrap(record) == key
    assert pkcs11._initialized_by[MODULE] == os.getpid()


def test_each_lab_works_in_a_token_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules start labs of their own in one process; with the first one's token, faults and commands would miss it."""
    folders = [tmp_path / name for name in ("first", "second")]
    with ExitStack() as stack:
        for folder in folders:
            folder.mkdir()
        labs = [stack.enter_context(provider_pkcs11.start(folder)) for folder in folders]
        for lab in (*labs, *labs):
            lab.quicken(monkeypatch)
            with ExitStack() as undo:
                lab.break_it(Fault.UNREACHABLE, undo)
                with pytest.raises(RootError):
                    lab.root().check()
            lab.root().check()


@softhsm
def test_no_library_and_no_token(lab: Pkcs11Lab) -> None:
    pin = lab.settings.secrets["pin"]
    absent = pkcs11.settings("/nonexistent/lib.so", TOKEN, KEY, pin=pin)
    with pytest.raises(RootRefusedError, match="cannot be loaded"):
        lab.root(absent).check()
    elsewhere = pkcs11.settings(MODULE, "elsewhere", KEY, pin=pin)
    with pytest.raises(RootError, match="NoSuchToken"):
        pkcs11.build(elsewhere, SystemClock()).check()
    lab.root().check()


@softhsm
def test_a_key_is_made_when_it_is_asked_for_and_at_no_other_time(
    lab: Pkcs11Lab, node: Node
) -> None:
    """A dry run made the key; and the wish was stored with the settings, so that a lost key could be replaced unasked."""
    label = "made on demand"
    wanted = lab.of(label, create=True)

    def is_there() -> bool:
        found: list[bool] = []
        lab.operate(lambda session: found.append(_has_key(session, label)))
        return found[0]

    assert not node.modes.set_mode(wanted, "os:tester", dry_run=True).done
    assert not is_there()
    assert node.modes.set_mode(wanted, "os:tester").done
    assert is_there()
    assert node.modes.set_mode(wanted, "os:tester", dry_run=True).plan == ()
    assert [root.options.get("create") for root in node.kms_store.root_settings()] == [None]
    lab.operate(lambda session: session.get_key(label=label).destroy())
    assert "no such key" in node.kms_store.status().problems[0]
    assert not is_there()


def _has_key(session: Any, label: str) -> bool:
    from pkcs11 import Attribute

    return any(True for _ in session.get_objects({Attribute.LABEL: label}))
