"""Whatever an import holds, each key gets one verdict, nothing is raised, and no reason holds a value (format/settings.md §4)."""

from hypothesis import given
from hypothesis import strategies as st

from strongroom import ids
from strongroom.config.document import ConfigDocument, check_name
from strongroom.config.import_rules import Outcome, Rules
from strongroom.config.pending import PendingChanges
from strongroom.config.transfer import Settings
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError
from strongroom.secrets import catalog as secrets

DOCUMENT = ConfigDocument(ids.new_id(), ids.new_id(), {"redis.password": "ENC(x)"})
ERRORS = (FormatError("x"), IntegrityError(), KeyNotFoundError("x"))
VALUE = "a value that is recognised"
NAMES = st.sampled_from(
    ["redis.password", "gateway.timeout", "kms.roots", "a.servicepassword", "made.up", "x_secret"]
) | st.text(max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.just(VALUE)
    | st.just(f"ENC({VALUE})"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.sampled_from([*ERRORS, None]), st.booleans())
def test_every_key_gets_a_verdict(
    keys: dict[str, object], failure: Exception | None, force: bool
) -> None:
    def open_text(_: str, __: str) -> bytes:
        if failure is not None:
            raise failure
        return VALUE.encode()

    rules = Rules(DOCUMENT, PendingChanges(1, 0), open_text, force)
    verdicts = rules.judge_keys(Settings(keys))
    assert [one.key for one in verdicts] == sorted(keys)
    for one in verdicts:
        assert VALUE not in one.why
        assert VALUE not in repr(one)
        if one.outcome is Outcome.ACCEPTED:
            assert one.value is not None
            assert check_name(one.key)
            assert not secrets.is_key_hierarchy(one.key)
            assert not one.value.startswith("ENC(")
