"""AWS KMS as the root: the CMK gives the RMK as a data key (A-07); the one door to boto3.

Two actions are ever needed, `kms:GenerateDataKey` and `kms:Decrypt` on the key (A-04); a third one,
`kms:ListKeyRotations`, is tried for the full status and may be refused (7.1). No call is made before the
ARN and the region are checked (A-08, A-09, Q-21).
"""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from strongroom import foreign_words
from strongroom.clock import Clock, format_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    StrongroomError,
    UsageError,
)
from strongroom.roots import ends, indirect, outbound, wraps
from strongroom.roots.aws_connection import Connection, DefaultChain
from strongroom.roots.base import Context, CredentialEnd, RootDescription, WrapRecord
from strongroom.roots.kinds import WAY, Given, LogWords, Option, RootKind
from strongroom.roots.settings import RootSettings
from strongroom.system.extras import needed

KIND = "aws"
#: How long a preflight takes "access denied" for a permission that does not count yet: IAM is
#: eventually consistent, mostly within seconds (7.5).
CONSISTENT_S = 6.0
_PAUSE_S = 1.0
#: A clock that differs by more than this is reported in errors: AWS refuses signatures that differ by five minutes.
_SKEW_S = 60.0
_PAGES = 10
_SESSION = timedelta(hours=36)
_INSTEAD = "attach a role, or set them anew and start the server again"
_KEY_BYTES = 32
_TOLD = re.compile(r"\b(?P<arn>arn:aws[a-z-]*:(?:iam|sts)::\d{12}:\S+) is not authorized")
_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):kms:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    r":(?P<what>key|alias)/(?P<id>[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*)"
)


@dataclass(frozen=True)
class KeyArn:
    """A full key ARN."""

    text: str
    region: str
    account: str


def parse_arn(text: str) -> KeyArn:
    """The ARN as the console shows it; blanks and quotes around it are taken off (A-11).

    Raises:
        UsageError: The text is not the ARN of a key.
    """
    trimmed = text.strip().strip("\"'").strip()
    match = _ARN.fullmatch(trimmed)
    hint = "give the full ARN: arn:aws:kms:<region>:<account>:key/<key id>"
    if match is None:
        raise UsageError(f"not the ARN of a KMS key: {trimmed!r}", hint=hint)
    if match["what"] == "alias":
        raise UsageError(f"an alias can be moved to another key: {trimmed!r}", hint=hint)
    return KeyArn(trimmed, match["region"], match["account"])


def settings(key_arn: str, region: str) -> RootSettings:
    """Checked settings; sends no request (A-08, A-09).

    Raises:
        UsageError: No key ARN, or the region is not the ARN's.
    """
    arn = parse_arn(key_arn)
    named = region.strip().strip("\"'")
    if named != arn.region:
        raise UsageError(
            f"the key is in region {arn.region}, not in {named}",
            hint=f"use --aws-region {arn.region}",
        )
    return RootSettings(KIND, arn.text, {"region": arn.region})


def build(root: RootSettings, clock: Clock) -> "AwsRoot":
    """The root with a client of boto3's default credential chain, instance role included (A-01)."""
    with needed("the AWS root needs boto3", "aws", RootError):
        import boto3  # noqa: F401  a missing library is told here, not at the first call
    import logging

    # below this level the SDK logs every step; failures are logged by the accessor of the KMS
    logging.getLogger("botocore").setLevel(logging.WARNING)
    chain = DefaultChain(root.options["region"])
    return AwsRoot(chain, root.root_key_id, clock, known_as=root.known_as)


def of_options(given: Given) -> RootSettings:
    """The settings of a command line."""
    return settings(given.text("--key-arn"), given.text("--aws-region"))


def of_backup(root: RootSettings) -> RootSettings:
    """The settings that a backup names."""
    return settings(root.root_key_id, root.options["region"])


ROOT = RootKind(
    KIND,
    build,
    title="AWS",
    options=(
        Option("--key-arn", "ARN", "the CMK's full ARN", required=True),
        Option("--aws-region", "REGION", "the CMK's region", required=True),
    ),
    of_options=of_options,
    example="--key-arn ARN --aws-region eu-central-1",
    shown={"": "CMK ARN", "region": "AWS region", "identity": "Identity", **WAY},
    log_words=LogWords(
        "AwsKmsEncryptionEnvelopeAccessor", "AwsKmsEncryptionEnvelope", "CMK with ARN"
    ),
    of_backup=of_backup,
)


class AwsRoot:
    """Wraps the RMK by one CMK."""

    def __init__(
        self,
        connection: Connection,
        arn: str,
        clock: Clock,
        *,
        known_as: Collection[str] = (),
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build the root.

        Args:
            connection: Gives the client of AWS KMS.
            arn: The CMK.
            clock: For the times in records.
            known_as: Other ARNs of the same key: of its replicas in other regions.
            sleep: Waits between two tries of a preflight.
            monotonic: Seconds of a clock that never goes back.
        """
        self._connection = connection
        self._arn = parse_arn(arn)
        self._clock = clock
        self._sleep = sleep
        self._monotonic = monotonic
        self._may_list = True
        self._ids = frozenset((arn, self._arn.text, *known_as))

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """The data key is the RMK (A-07)."""
        key, blob = self._data_key(context.pairs())
        return key, self._record(context, blob)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap a given key: indirect, since no encrypt action may be needed (A-04)."""
        data_key, blob = self._data_key(context.pairs())
        return self._record(context, blob, indirect.seal(key, data_key, context))

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Decrypt, by the CMK named, and with the context that it was made with (A-25).

        Raises:
            RootRefusedError: Another CMK made the record, which is seen without a request.
        """
        arn = self._arn.text
        if record.root_key_id not in self._ids:
            raise wraps.other_key(f"the CMK {record.root_key_id}", arn)
        answer = self._call(
            "kms:Decrypt",
            lambda client: client.decrypt(
                CiphertextBlob=record.blob, KeyId=arn, EncryptionContext=dict(record.context)
            ),
        )
        key = _key(answer)
        if record.form == "direct":
            return key
        return indirect.open_(record, key)

    def describe(self) -> RootDescription:
        """ARN, region, account, and the identity of the last call."""
        details = {"region": self._arn.region, "account": self._arn.account}
        details |= self._connection.way()
        identity = self._connection.identity()
        if identity:
            details["identity"] = identity
        return RootDescription(KIND, self._arn.text, details)

    def check(self) -> None:
        """GenerateDataKey and Decrypt, for real; for a few seconds again if access is denied (7.5).

        Raises:
            RootError: The CMK or its policy does not allow one of them, or gives back another key.
        """
        until = self._monotonic() + CONSISTENT_S
        while True:
            try:
                return self._round_trip()
            except RootRefusedError as error:
                denied = getattr(error.__cause__, "code", "") == _DENIED
                if not denied or self._monotonic() >= until:
                    raise
            self._sleep(_PAUSE_S * (0.5 + rng.random_bytes(1)[0] / 256))

    def rotated_at(self) -> str:
        """When the CMK's material was last renewed, if it is permitted to know (7.4); else empty."""
        newest = ""
        for answer in self._rotations():
            dates = [one.get("RotationDate") for one in answer.get("Rotations", [])]
            newest = max([newest, *(format_utc(date) for date in dates if date)])
        return newest

    def credential_end(self) -> CredentialEnd | None:
        """When session credentials end that were set by hand; AWS makes them for 36 hours at most."""
        ends_at = self._connection.ends_at()
        if ends_at is None:
            return None
        who = f"session credentials ({self._connection.identity()}) are renewed by nobody"
        if ends_at.year == 1:
            return ends.unknown(
                f"{who}, and do not say when they end; {_INSTEAD}", self._clock.now()
            )
        return ends.of(f"{who}; {_INSTEAD}", ends_at, _SESSION)

    def _rotations(self) -> Iterator[Mapping[str, Any]]:
        words, pages = {"KeyId": self._arn.text}, _PAGES
        while self._may_list and pages:
            try:
                answer = self._call(
                    "kms:ListKeyRotations", lambda client: client.list_key_rotations(**words)
                )
            except StrongroomError:
                # not asked again: each refusal is a line in the audit trail of the AWS account
                self._may_list = False
                return
            yield answer
            if not answer.get("Truncated"):
                return
            words["Marker"], pages = answer["NextMarker"], pages - 1

    def _round_trip(self) -> None:
        wraps.check_round_trip(self, f"the CMK {self._arn.text}")

    def _data_key(self, pairs: Mapping[str, str]) -> tuple[SecretBytes, bytes]:
        answer = self._call(
            "kms:GenerateDataKey",
            lambda client: client.generate_data_key(
                KeyId=self._arn.text, KeySpec="AES_256", EncryptionContext=dict(pairs)
            ),
        )
        return _key(answer), bytes(answer.get("CiphertextBlob", b""))

    def _record(self, context: Context, blob: bytes, inner: bytes = b"") -> WrapRecord:
        record = wraps.new_record(context, KIND, self._arn.text, blob, self._clock, inner=inner)
        return replace(record, region=self._arn.region)

    def _call(self, action: str, call: Callable[[Any], Any]) -> Any:
        """Run a call and translate what the SDK raises."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            return self._once_more(call)
        except ClientError as error:
            code = self._code(error.response)
            raise self._translated(error.response, action) from self._cause(error, code)
        except BotoCoreError as error:
            raise self._unreachable(action, error) from self._cause(error)
        except (
            ResponseParserError,
            ValueError,
            OSError,
            AttributeError,
            TypeError,
            LookupError,
        ) as error:
            said = foreign_words.of(error, *self._connection.secrets())
            raise RootUnavailableError(
                f"the answer to {action} with {self._arn.text} cannot be read: {said}",
                hint="check proxy and endpoint: something else may answer for AWS KMS",
            ) from self._cause(error)

    def _cause(self, error: Exception, code: str = "") -> Exception:
        return foreign_words.cause(error, *self._connection.secrets(), code=code)

    def _unreachable(self, action: str, error: Any) -> RootError:
        name, arn = type(error).__name__, self._arn.text
        if "Credential" in name:
            return RootUnavailableError(
                f"there are no AWS credentials in the environment of {outbound.whose()} to {action} with {arn}: {name}",
                hint="attach a role to the instance (and see that its metadata service answers), or set up"
                " the default credential chain for that process: its environment counts, not this shell's",
            )
        said = foreign_words.of(error, *self._connection.secrets())
        return RootUnavailableError(
            f"AWS KMS cannot be reached to {action} with {arn}: {said}",
            hint="check network, proxy, TLS and the region's endpoint",
        )

    def _once_more(self, call: Callable[[Any], Any]) -> Any:
        """Run a call, and again with fresh credentials if AWS does not take the present ones (7.2)."""
        from botocore.exceptions import ClientError

        try:
            return call(self._connection.client())
        except ClientError as error:
            if self._code(error.response) not in _CREDENTIALS:
                raise
            self._connection.renew()
            return call(self._connection.client())

    def _translated(self, response: Mapping[str, Any], action: str) -> RootError | IntegrityError:
        code, arn = self._code(response), self._arn.text
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code == "InvalidCiphertextException":
            return IntegrityError()
        if code in _TRANSIENT or status == 429 or status >= 500:
            return RootUnavailableError(
                f"AWS KMS cannot {action} now for {arn}: {code or status}",
                hint="it is tried again by itself; see the AWS service status if it lasts",
            )
        if code in _CREDENTIALS:
            return RootRefusedError(
                f"AWS does not accept the credentials used for {arn}: {code}"
                f" ({self._connection.identity() or 'unknown'}){self._skew(response)}",
                hint="check the instance role or the credentials, and this machine's clock",
            )
        words = {"arn": arn, "action": action, "who": self._who(response)}
        message, hint = _REFUSED.get(
            code, (f"AWS KMS refused {{action}} for {{arn}}: {code}", "see the AWS documentation")
        )
        return RootRefusedError(message.format(**words), hint=hint.format(**words))

    def _code(self, response: Mapping[str, Any]) -> str:
        return foreign_words.of(
            response.get("Error", {}).get("Code", ""), *self._connection.secrets()
        )

    def _skew(self, response: Mapping[str, Any]) -> str:
        """In words, if this machine's clock is away from that of AWS (7.5)."""
        date = foreign_words.of(
            response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        )
        try:
            theirs = parsedate_to_datetime(date)
            skew = (self._clock.now() - theirs).total_seconds()
        except (ValueError, TypeError):
            return ""
        where = "ahead of" if skew > 0 else "behind"
        if abs(skew) <= _SKEW_S:
            return ""
        return f"; this machine's clock is {abs(skew):.0f} s {where} that of AWS"

    def _who(self, response: Mapping[str, Any]) -> str:
        """The identity by the name that AWS gives it in a refusal, else by what we know of it."""
        said = foreign_words.of(
            response.get("Error", {}).get("Message", ""), *self._connection.secrets()
        )
        told = _TOLD.search(said)
        return told["arn"] if told else self._connection.identity() or "this machine's identity"


def _key(answer: Mapping[str, Any]) -> SecretBytes:
    key = SecretBytes(answer.get("Plaintext", b""))
    if len(key) != _KEY_BYTES:
        raise RootError(f"AWS KMS gave a key of {len(key)} bytes instead of {_KEY_BYTES}")
    return key


_TRANSIENT = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "KMSInternalException",
        "DependencyTimeoutException",
        "KeyUnavailableException",
        "InternalFailure",
        "ServiceUnavailable",
    }
)
_CREDENTIALS = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "ExpiredTokenException",
        "ExpiredToken",
        "RequestExpired",
        "IncompleteSignature",
        "MissingAuthenticationTokenException",
        "InvalidClientTokenId",
    }
)
_DENIED = "AccessDeniedException"
#: Error of AWS → what happened and what to do; `{arn}`, `{action}` and `{who}` are filled in.
_REFUSED = {
    _DENIED: (
        "{who} may not {action} with {arn}",
        "allow {action} on {arn} for {who}: in the policy of its role and in the key's own policy",
    ),
    "DisabledException": ("the CMK {arn} is disabled", "enable it in AWS KMS"),
    "KMSInvalidStateException": (
        "the CMK {arn} cannot be used: it is pending deletion, or its material is missing",
        "cancel the deletion at once; when it is gone, all that it protects is lost",
    ),
    "NotFoundException": (
        "there is no CMK {arn}",
        "compare region, account and key id with the console",
    ),
    "IncorrectKeyException": (
        "the RMK was wrapped by another CMK than {arn}",
        "this is the store of another installation or of a backup",
    ),
    "InvalidKeyUsageException": (
        "the CMK {arn} is not a symmetric key for encryption",
        "create a symmetric key with the usage ENCRYPT_DECRYPT",
    ),
    "ValidationException": ("AWS KMS does not accept {arn}", "compare it with the console"),
    "InvalidArnException": ("AWS KMS does not accept {arn}", "compare it with the console"),
}
