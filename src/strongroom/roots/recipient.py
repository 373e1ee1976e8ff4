"""Roots that only wrap: an age recipient, and one whose identity was split into shares (docs/format/recovery.md).

The private half is nowhere in the installation. Such a root wraps at every rotation, and opens only inside
`strongroom recover`, which brings the identity along. It never makes a data key, and so is never the mode's root.
"""

from strongroom.clock import Clock, format_utc
from strongroom.crypto import age, labels, rng
from strongroom.crypto.age import Identity
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootError, RootRefusedError, StateError, UsageError
from strongroom.ids import id_bytes, new_id
from strongroom.roots.base import NEVER, Context, RootDescription, WrapRecord
from strongroom.roots.kinds import Given, Option, RootKind
from strongroom.roots.registry import AGE, SHARES
from strongroom.roots.settings import RootSettings

_LONGEST_LABEL = 128


def settings(
    recipient: str, *, label: str = "", kit: tuple[str, int, int] | None = None
) -> RootSettings:
    """Checked settings of an age recipient, or of a kit of shares.

    Args:
        recipient: The public half.
        label: For people: whose it is, where it lies.
        kit: Of shares: the set's id, how many are needed, how many there are.

    Raises:
        UsageError: Not a recipient, or a label that cannot be shown.
    """
    if len(label) > _LONGEST_LABEL or not label.isprintable():
        raise UsageError(f"a label has up to {_LONGEST_LABEL} printable characters")
    options = {"label": label} if label else {}
    if kit is not None:
        set_id, threshold, count = kit
        options |= {"set": set_id, "threshold": str(threshold), "count": str(count)}
    return RootSettings(SHARES if kit else AGE, age.check_recipient(recipient), options)


def build(root: RootSettings, clock: Clock) -> "RecipientRoot":
    """The root without its private half."""
    return RecipientRoot(root, clock)


def of_wrap(wrap: WrapRecord) -> RootSettings:
    """Settings for a wrap whose own were lost: it names its recipient."""
    return RootSettings(wrap.kind, wrap.root_key_id)


def of_options(given: Given) -> RootSettings:
    """The settings of a command line."""
    return settings(given.text("--recipient"), label=given.text("--label"))


# a backup's own recipients are no roots to ask: its keys are opened by identities that are brought along
AGE_ROOT = RootKind(
    AGE,
    build,
    options=(
        Option("--recipient", "R", "age1…, see age-keygen -y", required=True),
        Option("--label", "TEXT", "owner of the identity, as a note for people"),
    ),
    of_options=of_options,
    example="--recipient age1… --label vault",
    page="recovery",
    of_wrap=of_wrap,
)
# no `of_options`: its recipient comes with the kit that `roots add shares` makes
SHARES_ROOT = RootKind(
    SHARES,
    build,
    example="--threshold 2 --shares 3 --output kit",
    page="recovery",
    of_wrap=of_wrap,
)


class RecipientRoot:
    """Wraps the RMK for one recipient; unwraps it if its identity was brought along."""

    def __init__(
        self, root: RootSettings, clock: Clock, identities: tuple[Identity, ...] = ()
    ) -> None:
        """Build the root.

        Args:
            root: The settings of the root.
            clock: For the times in records.
            identities: The private keys to unwrap with; none outside of `strongroom recover`.
        """
        self._root = root
        self._clock = clock
        self._identities = identities

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """Refused: a root that cannot be asked to open is nobody's mode.

        Raises:
            StateError: Always.
        """
        raise StateError(
            f"a root of the kind {self._root.kind!r} only wraps: it makes no RMK {context.rmk_id}",
            hint="it stands beside the mode's root: tsm security kms roots add",
        )

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap a key for the recipient; sends no request."""
        recipient = self._root.root_key_id
        return WrapRecord(
            id=context.wrap_id,
            kind=self._root.kind,
            form="direct",
            root_key_id=recipient,
            region="",
            blob=age.wrap(key, recipient=recipient, aad=_aad(context)),
            inner=b"",
            context=context.pairs(),
            added_at=format_utc(self._clock.now()),
            last_verified=NEVER,
        )

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """The key of a record, by the identity that was brought along.

        Raises:
            RootError: No identity was brought along.
            RootRefusedError: The record was made for a recipient whose identity is not among them.
            IntegrityError: The record does not open.
        """
        if not self._identities:
            raise RootError(
                f"the {record.kind} root {record.root_key_id} cannot be asked: its identity is kept apart",
                hint="'strongroom recover' opens the node by it",
            )
        own = [one for one in self._identities if one.may_open(record.root_key_id)]
        if not own:
            raise RootRefusedError(
                f"the wrap {record.id} is for {record.root_key_id}, whose identity was not given"
            )
        return age.unwrap(record.blob, identities=tuple(own), aad=_aad(Context.of(record.context)))

    def describe(self) -> RootDescription:
        """The recipient and its label; online only with an identity."""
        root = self._root
        return RootDescription(
            root.kind, root.root_key_id, dict(root.options), online=bool(self._identities)
        )

    def check(self) -> None:
        """Wrap a key; with an identity, unwrap it too.

        Raises:
            RootError: Another key came back.
        """
        key = rng.new_key()
        record = self.wrap(key, Context(new_id(), new_id(), new_id()))
        if self._identities and self.unwrap(record) != key:
            raise RootError(f"{self._root.root_key_id} gave back another key than it wrapped")


def _aad(context: Context) -> bytes:
    return labels.RECOVERY_RMK + b"".join(map(id_bytes, context.ids))
