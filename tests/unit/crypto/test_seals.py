"""Single-shot seals of format 2: docs/format/seals.md; issue 10, part B; review X4, X15."""

import inspect
from collections.abc import Callable
from itertools import product

import pytest

from strongroom.crypto import labels, places, seals
from strongroom.crypto.labels import Field, Kind, Use
from strongroom.crypto.seals import Place
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, UsageError
from strongroom.ids import new_id
from strongroom.secrets import enc
from strongroom.secrets.committed import ValueKey, key_id_of

KEY = SecretBytes(bytes(range(32)))
OTHER_KEY = SecretBytes(bytes(range(1, 33)))
TEXTS = {name: new_id() for name in ("one", "other")}


def makers() -> dict[str, Callable[..., Place]]:
    """Every function of `places`, by its name."""
    return {
        name: value
        for name, value in vars(places).items()
        if name.startswith("of_") and inspect.isfunction(value)
    }


def argument(name: str, which: str) -> object:
    if name in {"base_version", "number", "version"}:
        return {"one": 7, "other": 8}[which]
    if name == "sha256":
        return {"one": bytes(32), "other": b"\1" * 32}[which]
    if name in {"associated", "context"}:
        return which.encode()
    return which if name == "parameter" else TEXTS[which]


def made(maker: Callable[..., Place], changed: str = "") -> Place:
    names = list(inspect.signature(maker).parameters)
    return maker(*(argument(name, "other" if name == changed else "one") for name in names))


MOVES = [
    (maker, name)
    for maker, function in makers().items()
    for name in inspect.signature(function).parameters
]


def test_each_row_of_the_table_has_its_function() -> None:
    """seals.md 1.4: labels, widths and numbers of fields are those of the table."""
    found = {made(maker).label for maker in makers().values()}
    assert found == {use.label for use in labels.SEALS}
    for maker in makers().values():
        place = made(maker)
        [row] = [use for use in labels.SEALS if use.fits(place.info)]
        assert (row.label, len(row.fields)) == (place.label, len(place.fields))


@pytest.mark.parametrize("maker", makers())
def test_what_was_sealed_comes_back(maker: str) -> None:
    place = made(makers()[maker])
    sealed = seals.seal(KEY, place, b"value")
    assert seals.open_(KEY, place, sealed) == b"value"
    assert len(sealed) == seals.OVERHEAD_BYTES + 5
    wrapped = seals.wrap(OTHER_KEY, place, kek=KEY)
    assert seals.unwrap(wrapped, place, kek=KEY) == OTHER_KEY


@pytest.mark.parametrize(("maker", "name"), MOVES)
def test_a_seal_opens_at_its_place_only(maker: str, name: str) -> None:
    """The attack: a genuine seal is moved to another parameter, installation, key, store …"""
    function = makers()[maker]
    sealed = seals.seal(KEY, made(function), b"value")
    with pytest.raises(IntegrityError, match="another key, or for another place"):
        seals.open_(KEY, made(function, name), sealed)


@pytest.mark.parametrize(("one", "other"), list(product(makers(), makers())))
def test_a_seal_of_one_purpose_is_none_of_another(one: str, other: str) -> None:
    sealed = seals.seal(KEY, made(makers()[one]), b"value")
    place = made(makers()[other])
    if one == other:
        assert seals.open_(KEY, place, sealed) == b"value"
        return
    with pytest.raises(IntegrityError, match="another key, or for another place"):
        seals.open_(KEY, place, sealed)


def test_another_key_is_refused_before_anything_is_decrypted() -> None:
    """Commitment: AES-GCM alone would take a key that an attacker chose together with the ciphertext."""
    place = made(places.of_value)
    with pytest.raises(IntegrityError, match="another key"):
        seals.open_(OTHER_KEY, place, seals.seal(KEY, place, b"value"))


def test_the_refusals_are_told_apart() -> None:
    """seals.md 1.3"""
    place = made(places.of_value)
    sealed = seals.seal(KEY, place, b"value")
    for length in range(seals.OVERHEAD_BYTES):
        with pytest.raises(FormatError, match="cut short"):
            seals.open_(KEY, place, sealed[:length])
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        words = "another key" if at < 64 else "changed or cut"
        with pytest.raises(IntegrityError, match=words):
            seals.open_(KEY, place, changed)
    for more in (sealed[:-1], sealed + b"\0"):
        with pytest.raises(IntegrityError, match="changed or cut"):
            seals.open_(KEY, place, more)


def test_two_seals_of_one_value_share_nothing() -> None:
    place = made(places.of_mek)
    first, second = (seals.seal(KEY, place, bytes(32)) for _ in range(2))
    assert not {first[at : at + 16] for at in range(0, 96, 16)} & {
        second[at : at + 16] for at in range(0, 96, 16)
    }


# ---- the text of a value (2) -------------------------------------------------------------------------

INSTALLATION, KEY_ID = new_id(), new_id()
VALUE_KEY = ValueKey(INSTALLATION, KEY_ID, KEY)


def test_the_text_of_a_value() -> None:
    text = VALUE_KEY.seal("redis.password", b"value")
    assert enc.is_enc(text)
    assert key_id_of(text) == KEY_ID
    assert VALUE_KEY.open("redis.password", text) == b"value"


def test_a_value_moved_to_another_parameter_or_installation_does_not_open() -> None:
    """review X4: format 1 binds no installation."""
    text = VALUE_KEY.seal("redis.password", b"value")
    with pytest.raises(IntegrityError, match="another place"):
        VALUE_KEY.open("redis.host", text)
    with pytest.raises(IntegrityError, match="another place"):
        ValueKey(new_id(), KEY_ID, KEY).open("redis.password", text)


def test_a_value_of_another_key_names_the_key() -> None:
    other = new_id()
    text = ValueKey(INSTALLATION, other, KEY).seal("redis.password", b"value")
    with pytest.raises(IntegrityError, match=other):
        VALUE_KEY.open("redis.password", text)


def test_the_versions_of_the_text_are_told_apart() -> None:
    old = enc.seal_value(KEY, KEY_ID, "redis.password", b"value" * 20)
    with pytest.raises(FormatError, match="version"):
        VALUE_KEY.open("redis.password", old)
    with pytest.raises(FormatError, match="version"):
        enc.open_value(KEY, "redis.password", VALUE_KEY.seal("redis.password", b"value"))


def test_a_value_that_is_too_long_is_refused_at_both_ends() -> None:
    with pytest.raises(UsageError, match="longer"):
        VALUE_KEY.seal("redis.password", bytes(enc.MAX_VALUE_BYTES + 1))
    with pytest.raises(FormatError, match="longer"):
        VALUE_KEY.open("redis.password", enc.text_of(bytes([2]) + bytes(enc.MAX_VALUE_BYTES + 200)))
    with pytest.raises(FormatError, match="cut short"):
        VALUE_KEY.open("redis.password", enc.text_of(bytes([2]) + bytes(95)))


def test_what_fits_a_framed_row() -> None:
    """primitives.md 9: the hook over all derivations goes by this."""
    row = Use(b"a", Kind.INFO, "key", (Field("id", 2), Field("any", 0)), "x.md", framed=True)
    good = b"a\0\2" + b"\0\0\0\2id" + b"\0\0\0\3any"
    assert row.fits(good)
    assert row.fits(good[:9] + bytes(4))
    for bad in (b"", good[:-1], good + b"\0", b"b" + good[1:], good.replace(b"\2id", b"\1id")):
        assert not row.fits(bad)
