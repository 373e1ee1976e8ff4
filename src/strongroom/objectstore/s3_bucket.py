"""The objects of a bucket in S3, or in a server that speaks as S3 does; the one place that knows boto3's errors."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from strongroom.errors import StorageError
from strongroom.objectstore.address import Address
from strongroom.objectstore.base import (
    ConditionError,
    Listed,
    MissingError,
    Object,
    OpenUpload,
    UnansweredError,
    missing,
    repeated,
    unanswered,
)
from strongroom.objectstore.kinds import ENDPOINT, Option, StoreKind
from strongroom.objectstore.s3_connection import Connection

T = TypeVar("T")
_MISSING = frozenset({"NoSuchKey", "404", "NotFound", "NoSuchUpload"})
_CONDITIONS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_FORBIDDEN = frozenset({"AccessDenied", "403", "Forbidden"})
_BUSY = frozenset(
    {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"}
)
_SERVERS_FAULT: Final = 500


class S3Bucket:
    """The objects below the prefix of one address."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.address = connection.address

    # ---- reading ---------------------------------------------------------------------------------

    def read(self, name: str) -> Object:
        """A small object, whole.

        Raises:
            MissingError: No object has this name.
            StorageError: The store refuses, or does not answer.
        """

        def ask(_: Any) -> Object:
            return Object(*self._connection.reading.whole(self.address.name(name)))

        return self._repeated(f"read {name}", ask)

    def read_range(self, name: str, start: int, count: int) -> bytes:
        """Bytes of an object from an offset on; the range must not be empty, and lie in the object.

        Raises:
            MissingError: No object has this name.
            StorageError: The store refuses, does not answer, or gives other bytes than those.
        """

        def ask(_: Any) -> bytes:
            data = self._connection.reading.range(self.address.name(name), start, count)
            if len(data) != count:
                raise self._unanswered(f"gave {len(data)} of {count} bytes of {name}")
            return data

        return self._repeated(f"read {name}", ask)

    def size(self, name: str) -> int:
        """Length of an object in bytes.

        Raises:
            MissingError: No object has this name.
            StorageError: The store refuses, or does not answer.
        """
        return self._repeated(
            f"look at {name}",
            lambda client: int(client.head_object(**self._named(name))["ContentLength"]),
        )

    def changed(self, name: str) -> datetime:
        """The time of the last write of an object, by the store's clock.

        Raises:
            MissingError: No object has this name.
            StorageError: The store refuses, or does not answer.
        """

        def ask(client: Any) -> datetime:
            found: datetime = client.head_object(**self._named(name))["LastModified"]
            return found

        return self._repeated(f"look at {name}", ask)

    def list(self, folder: str) -> Iterator[Listed]:
        """The objects whose names begin with a folder's name and a slash, in the order of their names."""
        token: Mapping[str, str] = {}
        while True:
            page = self._page(folder, token)
            for one in page.get("Contents", ()):
                yield Listed(self.address.below(one["Key"]), int(one["Size"]), one["LastModified"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def now(self) -> datetime:
        """The time of the store's clock."""
        page = self._page("pin", {})
        return parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])

    # ---- writing ---------------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> None:
        """Write an object if there is none of this name.

        Raises:
            ConditionError: The store says that there is one.
            UnansweredError: The store did not answer.
            StorageError: The store refuses.
        """
        self._once(
            f"write {name}",
            lambda client: client.put_object(**self._named(name), Body=data, IfNoneMatch="*"),
        )

    def replace(self, name: str, data: bytes, tag: str) -> None:
        """Write an object over the one with this ETag.

        Raises:
            ConditionError: The store says that there is none, or another one.
            UnansweredError: The store did not answer.
            StorageError: The store refuses.
        """
        try:
            self._once(
                f"write {name}",
                lambda client: client.put_object(**self._named(name), Body=data, IfMatch=tag),
            )
        except MissingError:
            raise ConditionError from None

    def write(self, name: str, data: bytes) -> None:
        """Write an object, whatever is there.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        self._repeated(
            f"write {name}", lambda client: client.put_object(**self._named(name), Body=data)
        )

    def delete(self, name: str) -> None:
        """Remove an object; a missing one is no error.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        with suppress(MissingError):
            self._repeated(
                f"remove {name}", lambda client: client.delete_object(**self._named(name))
            )

    # ---- in parts --------------------------------------------------------------------------------

    def begin_parts(self, name: str) -> str:
        """Begin an upload of parts; returns the store's id of it."""
        return self._repeated(
            f"write {name}",
            lambda client: str(client.create_multipart_upload(**self._named(name))["UploadId"]),
        )

    def write_part(self, name: str, upload_id: str, number: int, data: bytes) -> str:
        """Write the n-th part, from 1 on; returns its ETag."""
        return self._repeated(
            f"write {name}",
            lambda client: str(
                client.upload_part(
                    **self._named(name), UploadId=upload_id, PartNumber=number, Body=data
                )["ETag"]
            ),
        )

    def complete_parts(self, name: str, upload_id: str, tags: Sequence[str]) -> None:
        """Make the object of its parts; if it was made by an attempt whose answer was lost, nothing happens."""
        parts = [{"ETag": tag, "PartNumber": number} for number, tag in enumerate(tags, 1)]

        def ask(client: Any) -> None:
            client.complete_multipart_upload(
                **self._named(name), UploadId=upload_id, MultipartUpload={"Parts": parts}
            )

        with suppress(MissingError):  # the caller asks for the object's length anyway
            self._repeated(f"write {name}", ask)

    def abort_parts(self, name: str, upload_id: str) -> None:
        """Forget an upload and its parts; a missing one is no error."""
        with suppress(MissingError):
            self._repeated(
                f"remove the parts of {name}",
                lambda client: client.abort_multipart_upload(
                    **self._named(name), UploadId=upload_id
                ),
            )

    def open_uploads(self) -> Iterator[OpenUpload]:
        """The uploads that were begun and not completed."""
        place: Mapping[str, str] = {}
        while True:
            page = self._uploads_page(place)
            for one in page.get("Uploads", ()):
                yield OpenUpload(self.address.below(one["Key"]), one["UploadId"], one["Initiated"])
            if not page.get("IsTruncated"):
                return
            place = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    # ---- inside ----------------------------------------------------------------------------------

    def _page(self, folder: str, token: Mapping[str, str]) -> dict[str, Any]:
        prefix = self.address.name(f"{folder}/")
        return self._repeated(
            f"list {folder}",
            lambda client: client.list_objects_v2(
                Bucket=self.address.container, Prefix=prefix, **token
            ),
        )

    def _uploads_page(self, place: Mapping[str, str]) -> dict[str, Any]:
        prefix = self.address.name("body/")
        return self._repeated(
            "list uploads",
            lambda client: client.list_multipart_uploads(
                Bucket=self.address.container, Prefix=prefix, **place
            ),
        )

    def _named(self, name: str) -> dict[str, str]:
        return {"Bucket": self.address.container, "Key": self.address.name(name)}

    def _repeated(self, what: str, ask: Callable[[Any], T]) -> T:
        return repeated(lambda: self._once(what, ask))

    def _once(self, what: str, ask: Callable[[Any], T]) -> T:
        client = self._connection.client()
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            PartialCredentialsError,
        )

        try:
            return ask(client)
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StorageError(
                f"there are no credentials for the object store {self.address.shown}",
                hint="attach a role to the machine, or set access key and secret key in the environment of"
                " 'strongroom serve' and of the command",
            ) from self._connection.cause(error)
        except ClientError as error:
            raise self._of_answer(what, error) from self._connection.cause(error)
        except (BotoCoreError, OSError) as error:
            words = self._connection.words(error)
            raise self._unanswered(f"did not {what}: {words}") from self._connection.cause(error)

    def _of_answer(self, what: str, error: Any) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        place = self.address.shown
        if code in _MISSING:
            return missing(self.address, what.rpartition(" ")[2])
        if code in _CONDITIONS or status in {409, 412}:
            return ConditionError()
        if code in _BUSY or status >= _SERVERS_FAULT or status == 429:
            return self._unanswered(f"did not {what}: {code} (HTTP {status})")
        if code == "NoSuchBucket":
            return StorageError(
                f"there is no bucket {self.address.container} ({place})",
                hint="make the bucket, or correct the address",
            )
        if code in _FORBIDDEN:
            return StorageError(
                f"the object store {place} does not let us {what}: {code}",
                hint="the credentials need s3:GetObject, PutObject, DeleteObject, ListBucket,"
                " ListBucketMultipartUploads and AbortMultipartUpload below the prefix",
            )
        words = self._connection.words(error)
        return StorageError(f"the object store {place} did not {what}: {words}")

    def _unanswered(self, why: str) -> UnansweredError:
        return unanswered(self.address, why)


def build(address: Address) -> S3Bucket:
    """The objects of an address; asks nobody."""
    return S3Bucket(Connection(address))


STORE: Final = StoreKind(
    "s3",
    build,
    example="s3://bucket/prefix?region=eu-central-1",
    container=((re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"), "names no bucket"),),
    options={
        "region": Option(re.compile(r"[a-z0-9-]{2,40}"), "names no region", "us-east-1"),
        "endpoint": ENDPOINT,
    },
    options_words="one region and one endpoint",
)
