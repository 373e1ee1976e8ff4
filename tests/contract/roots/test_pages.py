"""Every kind of wrap opens by docs/format/kms-store.md 3 and 5.4 alone: the independent reader, and what the root's owner has."""

import base64
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto import rng
from strongroom.roots.base import WrapRecord
from tests.contract.roots.harness import RootLab
from tests.contract.roots.provider_aws import AwsLab
from tests.contract.roots.provider_azure import AzureLab
from tests.contract.roots.provider_gcp import GcpLab
from tests.contract.roots.provider_local import LocalLab
from tests.contract.roots.provider_openbao import OpenbaoLab
from tests.contract.roots.provider_pkcs11 import Pkcs11Lab
from tests.contract.roots.provider_tpm import TpmLab
from tests.contract.roots.providers import LABS
from tests.contract.roots.test_conformance import fresh
from tests.vectors import reader, reader_format2
from tests.vectors.reader import Means

Wrap = dict[str, Any]


def aws(lab: AwsLab, wrap: Wrap, _: bytes) -> bytes:
    answer = lab.admin("kms").decrypt(
        CiphertextBlob=reader.unbase64(wrap["blob"]),
        KeyId=wrap["root_key_id"],
        EncryptionContext=wrap["context"],
    )
    return bytes(answer["Plaintext"])


def azure(lab: AzureLab, wrap: Wrap, _: bytes) -> bytes:
    *_vault, name, version = wrap["root_key_id"].split("/")
    [key] = [one.private for one in lab.vault.keys[name] if one.id == version]
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return key.decrypt(reader.unbase64(wrap["blob"]), oaep)


def openbao(lab: OpenbaoLab, wrap: Wrap, pairs: bytes) -> bytes:
    answer = lab.transit.decrypt_data(
        name=wrap["root_key_id"].rpartition("/keys/")[2],
        ciphertext=reader.unbase64(wrap["blob"]).decode("ascii"),
        context=base64.b64encode(pairs).decode("ascii"),
    )
    return base64.b64decode(answer["data"]["plaintext"])


def gcp(lab: GcpLab, wrap: Wrap, pairs: bytes) -> bytes:
    key, blob = (
        wrap["root_key_id"].partition("/cryptoKeyVersions/")[0],
        reader.unbase64(wrap["blob"]),
    )
    cipher = AESGCM(lab.kms.keys[key])  # how the ciphertext is made up is Google's business
    return cipher.decrypt(blob[:12], blob[12:], b"strongroom/v1/root/gcp" + pairs)


def pkcs11(lab: Pkcs11Lab, wrap: Wrap, pairs: bytes) -> bytes:
    from pkcs11 import GCMParams, Mechanism

    blob, found = reader.unbase64(wrap["blob"]), []

    def work(session: Any) -> None:
        key = session.get_key(label="rmk-root")
        parameters = GCMParams(blob[:12], aad=b"strongroom/v1/root/pkcs11" + pairs, tag_bits=128)
        found.append(
            bytes(key.decrypt(blob[12:], mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
        )

    lab.operate(work)
    return bytes(found[0])


def tpm(lab: TpmLab, wrap: Wrap, _: bytes) -> bytes:
    """3.6"""
    from tpm2_pytss import (
        ESYS_TR,
        TPM2B_PRIVATE,
        TPM2B_PUBLIC,
        TPM2B_SENSITIVE_CREATE,
        TPMA_OBJECT,
    )

    blob, found = reader.unbase64(wrap["blob"]), []
    attributes = (
        "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"  # 3.6
    )

    def work(opened: Any) -> None:
        template = TPM2B_PUBLIC.parse(
            "ecc256:aes128cfb", objectAttributes=TPMA_OBJECT.parse(attributes)
        )
        primary, public, *_rest = opened.create_primary(
            TPM2B_SENSITIVE_CREATE(), template, ESYS_TR.OWNER
        )
        assert wrap["root_key_id"].rpartition("/")[2] == bytes(public.get_name()).hex()
        sealed, size = TPM2B_PRIVATE.unmarshal(blob)
        handle = opened.load(primary, sealed, TPM2B_PUBLIC.unmarshal(blob[size:])[0])
        found.append(bytes(opened.unseal(handle)))
        opened.flush_context(handle)
        opened.flush_context(primary)

    lab.operate(work)
    return bytes(found[0])


OPEN: dict[type[RootLab], Callable[[Any, Wrap, bytes], bytes]] = {
    AwsLab: aws,
    AzureLab: azure,
    GcpLab: gcp,
    OpenbaoLab: openbao,
    Pkcs11Lab: pkcs11,
    TpmLab: tpm,
}


def as_stored(record: WrapRecord) -> Wrap:
    """The record as the store spells it (1.3, 5.4)."""
    return {
        "v" if name == "version" else name: base64.b64encode(value).decode()
        if isinstance(value, bytes)
        else value
        for name, value in asdict(record).items()
    }


def means(lab: RootLab) -> Means:
    if isinstance(lab, LocalLab):
        return Means({name: key.reveal() for name, key in lab._keys.items()})
    [ask] = [one for kind, one in OPEN.items() if isinstance(lab, kind)]
    return Means(outside=lambda wrap, pairs: ask(lab, wrap, pairs))


@pytest.mark.parametrize("lab", LABS, indirect=True)
def test_each_wrap_opens_by_its_page(lab: RootLab) -> None:
    """kms-store.md 3.4, 5.4: of a key that the root made, and of one that was there before."""
    key = rng.new_key()
    made, record = lab.root().generate_data_key(fresh())
    by = means(lab)
    assert reader_format2.rmk_of_wrap(as_stored(record), by) == made.reveal()
    assert reader_format2.rmk_of_wrap(as_stored(lab.root().wrap(key, fresh())), by) == key.reveal()
