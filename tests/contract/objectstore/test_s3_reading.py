"""Reads beside boto3's client have the client's outcomes: its bytes, its errors, and its words (ADR 40)."""

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.errors import StrongroomError
from strongroom.objectstore import base
from strongroom.objectstore.s3_bucket import S3Bucket as Bucket
from tests.support.object_stores import Between, Fault

# not a fixture `kind` of this module: a server of another kind that a session has would stay the server
pytestmark = pytest.mark.parametrize("kind", ["S3"], indirect=True, scope="session")
DATA = bytes(range(256)) * 400
_NOT_AGAIN = " (reached max retries: 0)"
"""The client's words for that it does not ask again by itself."""
FAULTS = {
    "missing": Fault("GET", "probe", times=9, status=404, code="NoSuchKey"),
    "missing without a word": Fault("GET", "probe", times=9, status=404),
    "no bucket": Fault("GET", "probe", times=9, status=404, code="NoSuchBucket"),
    "forbidden": Fault("GET", "probe", times=9, status=403, code="AccessDenied"),
    "forbidden without a word": Fault("GET", "probe", times=9, status=403),
    "another key": Fault("GET", "probe", times=9, status=403, code="SignatureDoesNotMatch"),
    "a session that ended": Fault("GET", "probe", times=9, status=400, code="ExpiredToken"),
    "in another region": Fault("GET", "probe", times=9, status=301, code="PermanentRedirect"),
    "elsewhere for now": Fault("GET", "probe", times=9, status=307, code="TemporaryRedirect"),
    "a condition": Fault("GET", "probe", times=9, status=412, code="PreconditionFailed"),
    "a range that is none": Fault("GET", "probe", times=9, status=416, code="InvalidRange"),
    "too many": Fault("GET", "probe", times=9, status=429),
    "busy": Fault("GET", "probe", times=9, status=503, code="SlowDown"),
    "an error inside": Fault("GET", "probe", times=9, status=500, code="InternalError"),
    "an error of a proxy": Fault("GET", "probe", times=9, status=502),
    "no answer": Fault("GET", "probe", times=9, answer_lost=True),
}
ASKED: dict[str, Callable[[Bucket], object]] = {
    "whole": lambda bucket: bucket.read("probe").data,
    "a range": lambda bucket: bucket.read_range("probe", 10, 20),
}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_PAUSE_S", 0)


@pytest.fixture
def shown(through: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket of which the client has read something, and reads no more."""
    through.write("probe", DATA)
    assert through.read("probe").data == DATA
    client = through._connection.client()
    monkeypatch.setattr(client, "get_object", _never)
    return through


def _never(**_: object) -> Any:
    raise AssertionError("the client was asked to read")


def test_what_the_client_has_shown_is_read_without_it(shown: Bucket, between: Between) -> None:
    before = len(between.asked)
    whole = shown.read("probe")
    assert whole.data == DATA
    assert shown.read_range("probe", 5, 7000) == DATA[5:7005]
    assert len(between.asked) - before == 2
    shown.replace("probe", b"new", whole.tag)  # the tag is the one by which a store replaces
    assert shown.read("probe").data == b"new"


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", FAULTS)
def test_each_answer_has_the_outcome_that_the_client_gives_it(
    name: str, asked: str, through: Bucket, between: Between
) -> None:
    """Kind, words and hint; and as many requests, but where the client looks for the bucket's region."""
    through.write("probe", DATA)
    between.faults.append(Fault(**vars(FAULTS[name])))
    by_client, requests = _refused(through, asked, between)
    between.faults.clear()
    assert ASKED[asked](through)
    between.faults.append(Fault(**vars(FAULTS[name])))
    beside, again = _refused(through, asked, between)
    assert beside == by_client
    assert again - requests == (FAULTS[name].status in {301, 307, 400})
    between.faults.clear()
    assert ASKED[asked](through)


def _refused(bucket: Bucket, asked: str, between: Between) -> tuple[tuple[object, ...], int]:
    """Kind, words and hint of the error, and how many requests it took."""
    before = len(between.asked)
    with pytest.raises((StrongroomError, base.ConditionError)) as caught:
        ASKED[asked](bucket)
    found = caught.value
    told = (found.message, found.hint) if isinstance(found, StrongroomError) else ()
    words = tuple(one.replace(_NOT_AGAIN, "") for one in told)
    return (type(found), *words), len(between.asked) - before


def test_a_redirect_is_not_followed_with_a_signature(shown: Bucket, between: Between) -> None:
    """The client is asked, who signs anew for the region that the store names."""
    between.faults.append(Fault("GET", "probe", status=307))
    with pytest.raises(AssertionError, match="the client was asked"):
        shown.read("probe")


def test_one_lost_answer_is_asked_for_again(shown: Bucket, between: Between) -> None:
    between.faults.append(Fault("GET", "probe", answer_lost=True))
    assert shown.read_range("probe", 3, 4) == DATA[3:7]


def test_a_store_without_ranges_is_told_and_not_read_to_its_end(
    shown: Bucket, between: Between
) -> None:
    between.left_out = lambda name, _: name == "range"
    with pytest.raises(base.UnansweredError, match="gave 3 of 2 bytes"):
        shown.read_range("probe", 0, 2)
    between.left_out = None
    assert shown.read_range("probe", 0, 2) == DATA[:2]


def test_credentials_of_a_role_are_renewed_for_reads_too(
    shown: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read signs with what the credentials are by then."""
    asked: list[str] = []
    credentials: Any = shown._connection.reading._credentials
    before = credentials.get_frozen_credentials

    def frozen() -> Any:
        asked.append("again")
        return before()

    monkeypatch.setattr(credentials, "get_frozen_credentials", frozen)
    for _ in range(2):
        shown.read("probe")
    assert len(asked) >= 2


def test_an_error_names_no_secret(
    through: Bucket, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words of a store that quotes what it got."""
    secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    through.write("probe", DATA)
    through.read("probe")
    said = f"SignatureDoesNotMatch</Code><Message>not {secret} &amp; co</Message><Code>"
    between.faults.append(Fault("GET", "probe", status=403, code=said))
    with pytest.raises(StrongroomError, match=r"not .* & co") as caught:
        through.read("probe")
    assert secret not in str(caught.value)
    assert "SignatureDoesNotMatch" in str(caught.value)
