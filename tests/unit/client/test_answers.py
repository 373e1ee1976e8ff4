"""What a node's refusal means among our errors (docs/format/data-keys.md 2), and which URLs are asked at all."""

import pytest

from strongroom import errors
from strongroom.client import AccessToken, HttpKeyService, Password, SecretBytes
from strongroom.client.answers import problem
from strongroom.doors.tableau.errors import Noun, fault_of
from strongroom.errors import KeyServiceError, StrongroomError, UsageError

TOKEN = AccessToken("nightly", SecretBytes(b"SECRET-OF-A-TOKEN"))
SERVED = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, StrongroomError) and kind.http_status >= 500
]


@pytest.mark.parametrize("kind", SERVED, ids=lambda kind: kind.__name__)
def test_each_error_of_a_sealed_node_comes_back_by_its_exit_code(
    kind: type[StrongroomError],
) -> None:
    """A client is told the exit code alone, and so of a class without one of its own that it is its parent."""
    told = next(one for one in kind.__mro__ if "exit_code" in vars(one))
    fault = fault_of(kind("why"), Noun.NOTHING)
    found = problem("https://node", fault.status, {"error": {"code": fault.code, "detail": "why"}})
    assert type(found) is (told if fault.status == 423 else KeyServiceError)


def test_no_two_errors_of_a_node_have_one_exit_code_for_two_things() -> None:
    codes = [kind.exit_code for kind in SERVED if "exit_code" in vars(kind)]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "400003", errors.UsageError),
        (400, "400011", errors.FormatError),
        (401, "401001", errors.AuthenticationError),
        (403, "403004", errors.PermissionDeniedError),
        (404, "404003", errors.KeyServiceError),
        (409, "409000", errors.ConflictError),
        (422, "422020", errors.IntegrityError),
        (423, "423022", errors.KeyNotFoundError),
        (423, "423099", errors.KeyServiceError),
        (429, "429000", errors.KeyServiceError),
        (500, "500000", errors.KeyServiceError),
    ],
)
def test_every_documented_answer(status: int, code: str, kind: type[StrongroomError]) -> None:
    found = problem("https://node", status, {"error": {"code": code, "detail": "why it was"}})
    assert type(found) is kind
    assert "https://node" in found.message or "why it was" in found.message


@pytest.mark.parametrize("message", [None, {}, {"error": "x"}, {"error": {"detail": "x"}}])
def test_what_is_no_answer_of_a_node(message: dict[str, object] | None) -> None:
    found = problem("https://node", 502, message)
    assert type(found) is KeyServiceError
    assert "no node answers there" in found.message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "node.example",
        "ftp://node.example",
        "https://",
        "https://user@node.example",
        "https://user:password@node.example",
        "https://node.example/path",
        "https://node.example?x=1",
        "https://node.example#x",
        "https://node.example:0x50",
        "https://node.example:99999",
        "https://no de.example",
        "http://node.example",
        "http://192.0.2.1:8080",
        "http://[2001:db8::1]",
        "http://localhost.example",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    """data-keys.md 1.7: nothing is sent in clear over a network."""
    with pytest.raises(UsageError):
        HttpKeyService(url, TOKEN)


@pytest.mark.parametrize(
    "url",
    ["https://node.example", "https://node.example:8443/", "http://127.0.0.1:8080", "http://[::1]"],
)
def test_urls_that_are_taken(url: str) -> None:
    HttpKeyService(url, TOKEN).close()


def test_credentials_are_not_shown() -> None:
    shown = repr(TOKEN) + repr(Password("admin", SecretBytes(b"SECRET-OF-A-TOKEN")))
    shown += repr(HttpKeyService("https://node.example", TOKEN).__dict__)
    assert "SECRET" not in shown


def test_a_file_of_certificates_that_is_none() -> None:
    with pytest.raises(KeyServiceError, match="cannot be used"):
        HttpKeyService("https://node.example", TOKEN, ca_file=__file__)
    with pytest.raises(KeyServiceError, match="no such file"):
        HttpKeyService("https://node.example", TOKEN, ca_file="/nosuch")
