"""The AWS Encryption SDK: 1 MiB frames, key commitment, no signature, a raw AES master key."""

from pathlib import Path
from typing import Any

import aws_encryption_sdk
from aws_encryption_sdk.identifiers import (
    Algorithm,
    CommitmentPolicy,
    EncryptionKeyType,
    WrappingAlgorithm,
)
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

from benchmarks.drivers import common

FRAME_BYTES = 1024 * 1024


class _Provider(RawMasterKeyProvider):  # type: ignore[misc]  # the library has no types
    """One key in memory."""

    provider_id = "bench"
    key = b""

    def _get_raw_key(self, key_id: bytes) -> WrappingKey:
        del key_id
        return WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
            wrapping_key=self.key,
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        )


def _open(mode: str, key: bytes, source: Any, **more: Any) -> Any:
    client = aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    )
    provider = _Provider()
    provider.key = key
    provider.add_master_key("bench")
    return client.stream(mode=mode, source=source, key_provider=provider, **more)


def _encrypt(key: bytes, source: str, target: str, option: str) -> None:
    del option
    suite = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
    with (
        Path(source).open("rb") as plain,
        Path(target).open("wb") as sealed,
        _open("e", key, plain, algorithm=suite, frame_length=FRAME_BYTES) as stream,
    ):
        while piece := stream.read(FRAME_BYTES):
            sealed.write(piece)


def _decrypt(key: bytes, source: str, target: str, option: str) -> None:
    del option
    with (
        Path(source).open("rb") as sealed,
        Path(target).open("wb") as plain,
        _open("d", key, sealed) as stream,
    ):
        while piece := stream.read(FRAME_BYTES):
            plain.write(piece)


if __name__ == "__main__":
    common.main(_encrypt, _decrypt)
