"""Strict DER (format/keystore.md §1)."""

import pytest

from strongroom.errors import FormatError
from strongroom.keystore import der


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255, 256, 10_000, 2**31, 2**63 - 1])
def test_numbers_come_back(value: int) -> None:
    assert der.Reader(der.integer(value)).integer() == value


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65_535, 65_536])
def test_contents_of_every_length_come_back(size: int) -> None:
    data = bytes(size)
    assert der.Reader(der.element(der.OCTET_STRING, data)).only(der.OCTET_STRING) == data


def test_object_identifiers_are_encoded_as_x690_says() -> None:
    """The example of X.690 section 8.19.5: {2 100 3}, and the arcs of AES and PBES2."""
    assert der.oid("2.16.840.1.101.3.4.1.42").hex() == "060960864801650304012a"
    assert der.oid("1.2.840.113549.1.5.13").hex() == "06092a864886f70d01050d"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param("04", "middle of an element", id="no-length"),
        pytest.param("0402ff", "middle of an element", id="cut"),
        pytest.param("0480ffff0000", "not definite", id="indefinite"),
        pytest.param("0485000000000100", "not definite", id="five-length-bytes"),
        pytest.param("0482ff", "not definite", id="length-cut"),
        pytest.param("048105ffffffffff", "not minimal", id="long-form-of-a-short-length"),
        pytest.param("04820080" + "00" * 128, "not minimal", id="leading-zero"),
        pytest.param("3000", "found tag 0x30", id="other-tag"),
        pytest.param("040100" + "00", "after the end", id="rest"),
    ],
)
def test_what_is_no_strict_der_is_refused(data: str, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        der.Reader(bytes.fromhex(data)).only(der.OCTET_STRING)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param("0200", "empty", id="empty"),
        pytest.param("0201ff", "negative", id="negative"),
        pytest.param("020900ffffffffffffffff", "too large", id="nine-bytes"),
        pytest.param("02020001", "not minimal", id="not-minimal"),
    ],
)
def test_what_is_no_plain_number_is_refused(data: str, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        der.Reader(bytes.fromhex(data)).integer()


def test_an_expected_element_is_named_when_it_is_not_there() -> None:
    with pytest.raises(FormatError, match="does not say SHA-256"):
        der.Reader(der.integer(5)).expect(der.integer(6), "SHA-256")
