"""What names may be."""

import pytest

from strongroom.access import names
from strongroom.errors import UsageError
from strongroom.repository.folding import fold


def test_names_are_composed_and_trimmed() -> None:
    assert names.canonical("  Cafe\u0301 ", "site") == "Café"


@pytest.mark.parametrize("name", ["", "   ", "a" * 256, "a\0b", "a\nb", "a\u202eb"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="the name of a user"):
        names.canonical(name, "user")


@pytest.mark.parametrize(
    "unseen", ["\u200b", "\u00ad", "\u2060", "\ufeff", "\u200d", "\u200c", "\u3164", "\U000e0061"]
)
@pytest.mark.parametrize("name", ["ad{}min", "{}admin", "admin{}", "\u0645{}min"])
def test_no_name_looks_like_another_one(name: str, unseen: str) -> None:
    """security test S8: names with a character that nobody sees are other names for the computer only."""
    with pytest.raises(UsageError, match="the name of a user"):
        names.canonical(name.format(unseen), "user")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b", "con", "💾", "a" * 255, "م\u200cی", "👩\u200d🚀"]
)
def test_names_are_data_and_may_look_like_anything(name: str) -> None:
    assert names.canonical(name, "project") == name


@pytest.mark.parametrize("word", ["", "default", "DEFAULT"])
def test_default_means_the_empty_content_url(word: str) -> None:
    assert names.content_url(word) == ""


@pytest.mark.parametrize("url", ["a b", "a/b", "ä", "a.b", "a\n", "a" * 256])
def test_content_urls_that_clients_refuse(url: str) -> None:
    """clients.md section 1.5."""
    with pytest.raises(UsageError, match="content URL"):
        names.content_url(url)


def test_a_description_has_an_end() -> None:
    assert names.description("x\ny") == "x\ny"
    with pytest.raises(UsageError):
        names.description("x" * 4001)


def test_the_closest_name_is_suggested() -> None:
    assert names.did_you_mean("finanse", ["Finance", "Sales"]) == "did you mean 'Finance'?"
    assert names.did_you_mean("xyz", ["Finance", "Sales"]) == ""


@pytest.mark.parametrize(
    "name", ["שלם\u200f", "\u200fשלם 2026", "مبيعات\u061c (1)", "שלם\u200e abc"]
)
def test_marks_of_direction_where_letters_go_from_right_to_left(name: str) -> None:
    """Findings K17; they make no second name of one."""
    assert names.canonical(name, "project") == name
    plain = name.translate(dict.fromkeys(map(ord, "\u061c\u200e\u200f")))
    assert fold(name) == fold(plain)


@pytest.mark.parametrize("name", ["Sales\u200f", "a\u200eb", "12\u061c", "\u200f", "売上\u200f"])
def test_and_nowhere_else(name: str) -> None:
    with pytest.raises(UsageError, match="must not have the character"):
        names.canonical(name, "project")


@pytest.mark.parametrize("mark", ["\u202a", "\u202e", "\u2066", "\u2069"])
def test_what_turns_text_around_is_refused_in_every_name(mark: str) -> None:
    with pytest.raises(UsageError, match="must not have the character"):
        names.canonical(f"שלם{mark}", "project")
