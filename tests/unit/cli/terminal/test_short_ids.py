"""What of an id is shown, and which id is meant (findings F4)."""

from argparse import Namespace

import pytest

from strongroom.cli.terminal import short_ids
from strongroom.errors import UsageError

ONE = "0badcafe-0000-4000-8000-000000000001"
TWO = "0badcafe-0001-4000-8000-000000000001"
OTHER = "12345678-0000-4000-8000-000000000001"
SHORT, FULL = Namespace(full_ids=False), Namespace(full_ids=True)


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ([ONE, OTHER], "0badcafe"),
        ([ONE, TWO, OTHER], "0badcafe-0000"),
        ([ONE, ONE[:-1] + "2"], ONE),
        ([ONE], "0badcafe"),
        ([ONE, "-", ""], "0badcafe"),
    ],
)
def test_as_many_digits_as_tell_them_apart(known: list[str], shown: str) -> None:
    assert short_ids.shortening(SHORT, lambda: known)(ONE) == shown
    assert short_ids.shortening(FULL, lambda: known)(ONE) == ONE


@pytest.mark.parametrize("text", ["-", "", "never", "projects/p/cryptoKeys/k"])
def test_what_is_no_id_stays(text: str) -> None:
    assert short_ids.shortening(SHORT, lambda: [ONE])(text) == text


@pytest.mark.parametrize("length", [*range(8, 9), *range(10, 37)])
def test_every_beginning_of_one_id_means_it(length: int) -> None:
    assert short_ids.whole(ONE[:length], lambda: [ONE, OTHER], "MEK") == ONE
    assert short_ids.whole(ONE[:length].upper(), lambda: [ONE, OTHER], "MEK").lower() == ONE


@pytest.mark.parametrize(
    "text", ["0badcaf", "", "0badcafe_", "x" + ONE, ONE + "0", "Sales", "--------"]
)
def test_what_is_no_beginning_is_not_looked_for(text: str) -> None:
    """Seven digits are too few, and a name costs no look at all ids."""

    def asked() -> list[str]:
        raise AssertionError

    assert short_ids.whole(text, asked, "MEK") == text


def test_the_beginning_of_none_is_given_back() -> None:
    assert short_ids.whole("ffffffff", lambda: [ONE], "MEK") == "ffffffff"


@pytest.mark.parametrize("thing", ["MEK", "wrap"])
def test_the_beginning_of_several_is_no_id(thing: str) -> None:
    with pytest.raises(
        UsageError, match=f"'0badcafe' is the beginning of the ids of 2 {thing}s: 0bad"
    ) as caught:
        short_ids.whole("0badcafe", lambda: [ONE, TWO, OTHER], thing)
    assert "more digits" in caught.value.hint
    many = [f"0badcafe-0000-4000-8000-00000000000{n}" for n in range(9)]
    with pytest.raises(UsageError, match=r"of 9 MEKs: .*0003, …$"):
        short_ids.whole("0badcafe", lambda: many, "MEK")
