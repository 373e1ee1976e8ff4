"""What one would write by hand with the same library: 64 KiB frames, a counter as nonce; nothing guards the end."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.drivers import common

FRAME_BYTES = 64 * 1024
TAG_BYTES = 16


def _encrypt(key: bytes, source: str, target: str, option: str) -> None:
    del option
    cipher, number = AESGCM(key), 0
    with open(source, "rb") as plain, open(target, "wb") as sealed:  # noqa: PTH123
        while piece := plain.read(FRAME_BYTES):
            sealed.write(cipher.encrypt(number.to_bytes(12, "big"), piece, None))
            number += 1


def _decrypt(key: bytes, source: str, target: str, option: str) -> None:
    del option
    cipher, number = AESGCM(key), 0
    with open(source, "rb") as sealed, open(target, "wb") as plain:  # noqa: PTH123
        while piece := sealed.read(FRAME_BYTES + TAG_BYTES):
            plain.write(cipher.decrypt(number.to_bytes(12, "big"), piece, None))
            number += 1


if __name__ == "__main__":
    common.main(_encrypt, _decrypt)
