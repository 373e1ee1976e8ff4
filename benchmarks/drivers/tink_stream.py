"""Tink's Python streaming AEAD; the option names its key template (AES256_GCM_HKDF_4KB, AES256_GCM_HKDF_1MB)."""

from pathlib import Path

import tink
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2 as gcm
from tink.proto import tink_pb2

from benchmarks.drivers import common


def _primitive(key: bytes, option: str) -> streaming_aead.StreamingAead:
    """The template's parameters with the given key: a keyset of one key, without a prefix."""
    streaming_aead.register()
    template = getattr(streaming_aead.streaming_aead_key_templates, option)
    form = gcm.AesGcmHkdfStreamingKeyFormat.FromString(template.value)
    value = gcm.AesGcmHkdfStreamingKey(params=form.params, key_value=key)
    keyset = tink_pb2.Keyset(primary_key_id=1)
    entry = keyset.key.add(status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW)
    entry.key_data.type_url = template.type_url
    entry.key_data.value = value.SerializeToString()
    entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    reader = tink.BinaryKeysetReader(keyset.SerializeToString())
    return cleartext_keyset_handle.read(reader).primitive(streaming_aead.StreamingAead)


def _encrypt(key: bytes, source: str, target: str, option: str) -> None:
    primitive = _primitive(key, option)
    with (
        Path(source).open("rb") as plain,
        Path(target).open("wb") as raw,
        primitive.new_encrypting_stream(raw, b"") as sealed,
    ):
        while piece := plain.read(common.CHUNK_BYTES):
            sealed.write(piece)


def _decrypt(key: bytes, source: str, target: str, option: str) -> None:
    primitive = _primitive(key, option)
    with (
        Path(source).open("rb") as raw,
        Path(target).open("wb") as plain,
        primitive.new_decrypting_stream(raw, b"") as opened,
    ):
        while piece := opened.read(common.CHUNK_BYTES):
            plain.write(piece)


if __name__ == "__main__":
    common.main(_encrypt, _decrypt)
