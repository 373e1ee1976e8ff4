"""AWS KMS as the root: the CMK gives the RMK as a data key (A-07); the one door to boto3.

Two actions are ever needed, `kms:GenerateDataKey` and `kms:Decrypt` on the key (A-04); a third one,
`kms:ListKeyRotations`, is tried for the full status and may be refused (7.1). No call is made before the
ARN and the region are checked (A-08, A-09, Q-21).
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

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
from strongroom.roots import indirect, wraps
from strongroom.roots.base import Context, RootDescription, WrapRecord
from strongroom.roots.settings import RootSettings

KIND = "aws"
ATTEMPTS = 4
CONNECT_S = 3
READ_S = 5
METADATA_ATTEMPTS = 3
#: How long a preflight takes "access denied" for a permission that does not count yet: IAM is
#: eventually consistent, mostly within seconds (7.5).
CONSISTENT_S = 6.0
_PAUSE_S = 1.0
#: A clock that is further away than this is told: AWS takes signatures of five minutes.
_SKEW_S = 60.0
_PAGES = 10
_KEY_BYTES = 32
_TOLD = re.compile(r"\b(?P<arn>arn:aws[a-z-]*:(?:iam|sts)::\d{12}:\S+) is not authorized")
_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):kms:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    r":(?P<what>key|alias)/(?P<id>[A-Za-z0-9/_-]+)"
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
        UsageError: It is no key ARN.
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
    """Checked settings; asks nobody (A-08, A-09).

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
    try:
        import boto3  # noqa: F401  a missing library is told here, not at the first call
    except ImportError as error:
        raise RootError("the AWS root needs boto3", hint="pip install 'strongroom[aws]'") from error
    import logging

    # the SDK tells every step at this level; what matters is told by the accessor
    logging.getLogger("botocore").setLevel(logging.WARNING)
    return AwsRoot(DefaultChain(root.options["region"]), root.root_key_id, clock)


class Connection(Protocol):
    """A client of AWS KMS, and whose credentials it signs with."""

    def client(self) -> Any:
        """The client of boto3."""
        ...

    def renew(self) -> None:
        """Forget client and credentials: the next client reads the credentials anew."""
        ...

    def identity(self) -> str:
        """Who the credentials belong to, in words; asks nobody, so it is empty before a call."""
        ...


class DefaultChain:
    """The connection by boto3's default chain: environment, files, container, instance role (Q-22)."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._lock = threading.Lock()
        self._client: Any = None
        self._credentials: Any = None
        self._identity = ""

    def client(self) -> Any:
        """The client; made again as long as there are no credentials: a role may be attached later."""
        with self._lock:
            if self._client is None or self._credentials is None:
                self._connect()
            if self._credentials is not None:
                self._identity = _identity(self._credentials)
            return self._client

    def renew(self) -> None:
        """Forget client and credentials."""
        with self._lock:
            self._client = None

    def identity(self) -> str:
        """Where the credentials of the last call came from, and their public id."""
        return self._identity

    def _connect(self) -> None:
        import boto3
        from botocore.config import Config
        from botocore.session import get_session

        core = get_session()
        if core.get_config_variable("metadata_service_num_attempts") == 1:
            # one try is the default, and one lost packet would be "no credentials" (7.2)
            core.set_config_variable("metadata_service_num_attempts", METADATA_ATTEMPTS)
        session = boto3.Session(botocore_session=core, region_name=self._region)
        self._credentials = session.get_credentials()
        self._client = session.client(
            "kms",
            config=Config(
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
            ),
        )


class AwsRoot:
    """Wraps the RMK by one CMK."""

    def __init__(
        self,
        connection: Connection,
        arn: str,
        clock: Clock,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build the root.

        Args:
            connection: Gives the client of AWS KMS.
            arn: The CMK.
            clock: For the times in records.
            sleep: Waits between two tries of a preflight.
            monotonic: Seconds of a clock that never goes back.
        """
        self._connection = connection
        self._arn = parse_arn(arn)
        self._clock = clock
        self._sleep = sleep
        self._monotonic = monotonic
        self._may_list = True

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """The data key is the RMK (A-07)."""
        key, blob = self._data_key(context.pairs())
        return key, self._record(context, blob)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap a given key: indirect, since no encrypt action may be needed (A-04)."""
        pairs = context.pairs()
        data_key, blob = self._data_key(pairs)
        return self._record(context, blob, indirect.seal(key, data_key, pairs))

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Decrypt, by the CMK named, and with the context that it was made with (A-25).

        Raises:
            RootRefusedError: Another CMK made the record; nobody is asked.
        """
        arn = self._arn.text
        if record.root_key_id != arn:
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
        return indirect.open_(record.inner, key, record.context)

    def describe(self) -> RootDescription:
        """ARN, region, account, and the identity of the last call."""
        details = {"region": self._arn.region, "account": self._arn.account}
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
                if not _is_denied(error) or self._monotonic() >= until:
                    raise
            self._sleep(_PAUSE_S * (0.5 + rng.random_bytes(1)[0] / 256))

    def rotated_at(self) -> str:
        """When the CMK's material was last renewed, if it is permitted to know (7.4); else empty."""
        newest = ""
        for answer in self._rotations():
            dates = [one.get("RotationDate") for one in answer.get("Rotations", [])]
            newest = max([newest, *(format_utc(date) for date in dates if date)])
        return newest

    def _rotations(self) -> Iterator[Mapping[str, Any]]:
        words, pages = {"KeyId": self._arn.text}, _PAGES
        while self._may_list and pages:
            try:
                answer = self._call(
                    "kms:ListKeyRotations", lambda client: client.list_key_rotations(**words)
                )
            except StrongroomError:
                # not asked again: each refusal is a line in somebody's audit trail
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
        """Run a call and translate what the SDK raises (requirements 7.5)."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            return self._once_more(call)
        except ClientError as error:
            raise self._translated(error.response, action) from error
        except BotoCoreError as error:
            raise _unreachable(error, action, self._arn.text) from error
        except (ResponseParserError, ValueError, OSError) as error:
            raise RootUnavailableError(
                f"the answer to {action} with {self._arn.text} cannot be read: {error}",
                hint="check proxy and endpoint: something else may answer for AWS KMS",
            ) from error

    def _once_more(self, call: Callable[[Any], Any]) -> Any:
        """Run a call, and again with fresh credentials if AWS does not take the present ones (7.2)."""
        from botocore.exceptions import ClientError

        try:
            return call(self._connection.client())
        except ClientError as error:
            if _code(error.response) not in _CREDENTIALS:
                raise
            self._connection.renew()
            return call(self._connection.client())

    def _translated(self, response: Mapping[str, Any], action: str) -> RootError | IntegrityError:
        code, arn = _code(response), self._arn.text
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
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

    def _skew(self, response: Mapping[str, Any]) -> str:
        """In words, if this machine's clock is away from that of AWS (7.5)."""
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        try:
            theirs = parsedate_to_datetime(str(headers.get("date", "")))
            skew = (self._clock.now() - theirs).total_seconds()
        except (ValueError, TypeError):
            return ""
        where = "ahead of" if skew > 0 else "behind"
        if abs(skew) <= _SKEW_S:
            return ""
        return f"; this machine's clock is {abs(skew):.0f} s {where} that of AWS"

    def _who(self, response: Mapping[str, Any]) -> str:
        """The identity by the name that AWS gives it in a refusal, else by what we know of it."""
        told = _TOLD.search(str(response.get("Error", {}).get("Message", "")))
        return told["arn"] if told else self._connection.identity() or "this machine's identity"


def _key(answer: Mapping[str, Any]) -> SecretBytes:
    key = SecretBytes(answer.get("Plaintext", b""))
    if len(key) != _KEY_BYTES:
        raise RootError(f"AWS KMS gave a key of {len(key)} bytes instead of {_KEY_BYTES}")
    return key


def _is_denied(error: RootRefusedError) -> bool:
    response = getattr(error.__cause__, "response", {})
    return _code(response) == "AccessDeniedException"


def _code(response: Mapping[str, Any]) -> str:
    return str(response.get("Error", {}).get("Code", ""))


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
#: Error of AWS → what happened and what to do; `{arn}`, `{action}` and `{who}` are filled in.
_REFUSED = {
    "AccessDeniedException": (
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


def _unreachable(error: Exception, action: str, arn: str) -> RootError:
    name = type(error).__name__
    if "Credential" in name:
        return RootUnavailableError(
            f"there are no AWS credentials to {action} with {arn}: {name}",
            hint="attach a role to the instance (and see that its metadata service answers), "
            "or set up the default credential chain",
        )
    return RootUnavailableError(
        f"AWS KMS cannot be reached to {action} with {arn}: {error}",
        hint="check network, proxy, TLS and the region's endpoint",
    )


def _identity(credentials: Any) -> str:
    role = "instance role" if credentials.method == "iam-role" else credentials.method
    return f"{role}, access key {credentials.get_frozen_credentials().access_key}"
