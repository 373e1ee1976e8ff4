"""The address of an object store as an administrator gives it: `s3://bucket/prefix?region=…&endpoint=…`; pure."""

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from strongroom.errors import UsageError
from strongroom.roots import addresses

SCHEME: Final = "s3"
_EXAMPLE = "s3://bucket/prefix?region=eu-central-1"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){0,9}")
_REGION = re.compile(r"[a-z0-9-]{2,40}")
_OPTIONS = ("region", "endpoint")


class Address(NamedTuple):
    """Where an object store is.

    Attributes:
        bucket: The bucket.
        prefix: The beginning of all names, without a slash at its end; may be empty.
        region: The region of AWS, by which requests are signed.
        endpoint: The address of a server that speaks as S3 does; empty for AWS itself.
    """

    bucket: str
    prefix: str
    region: str
    endpoint: str

    @property
    def text(self) -> str:
        """The address in its one spelling."""
        options = f"?region={self.region}"
        if self.endpoint:
            options += f"&endpoint={quote(self.endpoint, safe=':/')}"
        return f"{SCHEME}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}{options}"

    @property
    def shown(self) -> str:
        """The place in short, for messages."""
        server = f" at {self.endpoint}" if self.endpoint else ""
        return f"{SCHEME}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}{server}"

    def name(self, rest: str) -> str:
        """The name of an object below the prefix."""
        return f"{self.prefix}/{rest}" if self.prefix else rest


def parse(text: str) -> Address:
    """The address of a text.

    Raises:
        UsageError: The text is no address of an object store, or one with a user, a password or an unknown option.
    """
    try:
        parts = urlsplit(text.strip())
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _refused("cannot be read as one") from None
    if parts.scheme != SCHEME:
        raise _refused(f"does not begin with {SCHEME}://")
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise _refused("names no bucket")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise _refused(
            "has a prefix with other characters than letters, digits, '.', '_', '-' and single '/'"
        )
    given = dict(options)
    if parts.fragment or len(given) != len(options) or not given.keys() <= set(_OPTIONS):
        raise _refused("has other options than one region and one endpoint")
    region = given.get("region", "us-east-1")
    if not _REGION.fullmatch(region):
        raise _refused("names no region")
    endpoint = given.get("endpoint", "")
    if endpoint:
        endpoint = addresses.parse(
            endpoint, what="an object store", example="https://objects.example.org"
        )
    return Address(bucket, prefix, region, endpoint)


def _refused(why: str) -> UsageError:
    # the text is not quoted: it could hold a password
    return UsageError(f"the address of the object store {why}", hint=f"for example {_EXAMPLE}")
