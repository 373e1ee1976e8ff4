"""The engine `transit`: service keys, and what they do with values."""

from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.clock import parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.vault.routing import Call, Route
from strongroom.doors.vault.wire import Answer, Fields, ServerFaultError
from strongroom.errors import ConflictError, NotFoundError, UsageError
from strongroom.repository.service_rows import ServiceKeyRow
from strongroom.service_keys import ciphertext
from strongroom.service_keys.model import KeyKind, KeyState
from strongroom.services.service_keys.keys import KeyAt, Settings, Shown
from strongroom.services.service_keys.use import (
    MOST_AT_ONCE,
    Outcome,
    ToDecrypt,
    ToEncrypt,
    ToSign,
)

ENGINE = "transit"
KINDS = {
    "aes256-gcm96": KeyKind.AES256_GCM,
    "hmac": KeyKind.HMAC,
    "ed25519": KeyKind.ED25519,
    "ecdsa-p256": KeyKind.ECDSA_P256,
}
_AES = "aes256-gcm96"
_NAMES = {kind.value: name for name, kind in KINDS.items()} | {
    KeyKind.AES256_GCM_DERIVED.value: _AES,
    KeyKind.AES256_GCM_CONVERGENT.value: _AES,
}
_FORMS = {"plaintext": True, "wrapped": False}
"""The forms of a data key, and whether the key itself is in the answer."""
_A_COPY = "the original is there still: this copy of it opens no ciphertext that the original made"
_CREATE = frozenset(
    {"type", "exportable", "allow_plaintext_backup", "derived", "convergent_encryption"}
    | {"auto_rotate_period", "key_size", "managed_key_name", "managed_key_id", "parameter_set"}
)


# ---- keys ----------------------------------------------------------------------------------------


def create(call: Call) -> Answer:
    """Make a key; one that is there stays as it is."""
    fields = call.fields
    for name in fields.members:
        if name not in _CREATE:
            raise UsageError(f"{name[:60]} is not understood")
    wanted = fields.text("type", "aes256-gcm96")
    if wanted not in KINDS:
        raise UsageError(f"unknown key type {wanted[:40]!r}; known: {', '.join(KINDS)}")
    kind = _kind(fields, wanted)
    for name in ("managed_key_name", "managed_key_id"):
        if fields.text(name):
            raise UsageError(f"{name} is not understood: keys are kept here")
    if fields.text("auto_rotate_period", "0") not in {"0", "0s", ""}:
        raise UsageError("auto_rotate_period is not understood: rotate the key by a timer of yours")
    if fields.number("key_size") not in {0, 32} and wanted == "hmac":
        raise UsageError("key_size is 32 bytes for a key of the type hmac")
    key = call.services.service_keys.create(
        call.by,
        _at(call),
        kind,
        exportable=fields.truth("exportable"),
        backup_allowed=fields.truth("allow_plaintext_backup"),
        may_exist=True,
    )
    return _described(call.services.service_keys.show(_at(call)), key)


def _kind(fields: Fields, wanted: str) -> KeyKind:
    derived, convergent = fields.truth("derived"), fields.truth("convergent_encryption")
    if not derived:
        if convergent:
            raise UsageError("convergent encryption requires derivation to be enabled")
        return KINDS[wanted]
    if wanted != _AES:
        raise UsageError(f"derivation and convergent encryption are not supported for {wanted}")
    return KeyKind.AES256_GCM_CONVERGENT if convergent else KeyKind.AES256_GCM_DERIVED


def read(call: Call) -> Answer:
    """Show a key."""
    shown = call.services.service_keys.show(_at(call), call.by)
    return _described(shown, shown.key)


def names(call: Call) -> Answer:
    """The names of all keys."""
    found = call.services.service_keys.names(call.by, call.at)
    return Answer({"keys": found}) if found else Answer(whole={"errors": []}, status=404)


def configure(call: Call) -> Answer:
    """Change what may be changed of a key."""
    fields = call.fields
    settings = Settings(
        to_decrypt=fields.number_if("min_decryption_version"),
        to_encrypt=fields.number_if("min_encryption_version"),
        deletion_allowed=fields.truth_if("deletion_allowed"),
        exportable=fields.truth_if("exportable"),
        backup_allowed=fields.truth_if("allow_plaintext_backup"),
    )
    if fields.text("auto_rotate_period", "0") not in {"0", "0s", ""}:
        raise UsageError("auto_rotate_period is not understood: rotate the key by a timer of yours")
    key = call.services.service_keys.configure(call.by, _at(call), settings)
    return _described(call.services.service_keys.show(_at(call)), key)


def rotate(call: Call) -> Answer:
    """Give a key a new version."""
    key = call.services.service_keys.rotate(call.by, _at(call))
    return _described(call.services.service_keys.show(_at(call)), key)


def trim(call: Call) -> Answer:
    """Remove old versions of a key."""
    available = call.fields.number("min_available_version")
    key = call.services.service_keys.trim(call.by, _at(call), available)
    return _described(call.services.service_keys.show(_at(call)), key)


def delete(call: Call) -> Answer:
    """Remove a key."""
    try:
        call.services.service_keys.delete(call.by, _at(call))
    except NotFoundError as error:
        raise UsageError(f"could not delete key; not found: {error.message}") from error
    return Answer()


def export(call: Call) -> Answer:
    """The material of a key that may be exported."""
    found = call.services.service_key_use.export(
        call.by, _at(call), call.parts["kind"], call.parts.get("version", "")
    )
    keys = {str(one): material.reveal().decode() for one, material in found.versions.items()}
    return Answer({"name": found.key.name, "type": _NAMES[found.key.kind], "keys": keys})


def back_up(call: Call) -> Answer:
    """A key with all its versions, in plaintext, whose owner allowed that."""
    try:
        made = call.services.service_key_backups.back_up(call.by, _at(call))
    except UsageError as error:
        raise ServerFaultError(error.message) from error
    return Answer({"backup": made.reveal().decode()})


def restore(call: Call) -> Answer:
    """Bring a key back that was backed up."""
    fields = call.fields
    try:
        found = call.services.service_key_backups.restore(
            call.by,
            call.at,
            SecretBytes(fields.text("backup").encode()),
            call.parts.get("name", ""),
            force=fields.truth("force"),
        )
    except ConflictError as error:
        raise ServerFaultError(error.message) from error
    return Answer(warnings=(_A_COPY,)) if found.is_copy else Answer()


def _described(shown: Shown, key: ServiceKeyRow) -> Answer:
    kind = KeyKind(key.kind)
    versions: dict[str, Any] = {}
    for row in shown.versions:
        if row.version < key.to_decrypt:
            continue
        at = parse_utc(row.created_at)
        if kind.signs:
            versions[str(row.version)] = {
                "creation_time": row.created_at,
                "name": "ed25519" if kind is KeyKind.ED25519 else "P-256",
                "public_key": row.public,
            }
        else:
            versions[str(row.version)] = int(at.timestamp())
    return Answer(
        {
            "name": key.name,
            "type": _NAMES[key.kind],
            "keys": versions,
            "latest_version": key.latest,
            "min_available_version": 0 if key.available == 1 else key.available,
            "min_decryption_version": key.to_decrypt,
            "min_encryption_version": key.to_encrypt,
            "deletion_allowed": key.deletion_allowed,
            "exportable": key.exportable,
            "allow_plaintext_backup": key.backup_allowed,
            "auto_rotate_period": 0,
            "derived": kind.derives,
            "imported_key": False,
            "supports_encryption": kind.encrypts,
            "supports_decryption": kind.encrypts,
            "supports_derivation": kind.encrypts,
            "supports_signing": kind.signs,
            "soft_deleted": key.state == KeyState.PENDING_DELETION,
            **(_derivation(kind) if kind.derives else {}),
        }
    )


def _derivation(kind: KeyKind) -> dict[str, object]:
    convergent = kind is KeyKind.AES256_GCM_CONVERGENT
    return {"kdf": "hkdf_sha256", "convergent_encryption": convergent}


# ---- values --------------------------------------------------------------------------------------


def encrypt(call: Call) -> Answer:
    """Encrypt a value, or a batch of them."""
    batch = _batch(call, with_context=True)
    version = call.fields.number("key_version")
    items = [
        ToEncrypt(
            SecretBytes(ciphertext.decoded(one.members.get("plaintext"), "plaintext")),
            one.data("associated_data"),
            one.number("key_version", version),
            one.data("context"),
        )
        for one in batch
    ]
    found = call.services.service_key_use.encrypt(call.by, _at(call), items)
    return _result(call, found, _text_and_version("ciphertext"))


def decrypt(call: Call) -> Answer:
    """Decrypt a value, or a batch of them."""
    found = call.services.service_key_use.decrypt(call.by, _at(call), _to_decrypt(call))

    def one(outcome: Outcome) -> dict[str, object]:
        plain = b"" if outcome.plain is None else outcome.plain.reveal()
        return {"plaintext": ciphertext.encoded(plain)}

    return _result(call, found, one)


def rewrap(call: Call) -> Answer:
    """Bring a ciphertext, or a batch of them, to the latest version."""
    version = call.fields.number("key_version")
    found = call.services.service_key_use.rewrap(call.by, _at(call), _to_decrypt(call), version)
    return _result(call, found, _text_and_version("ciphertext"))


def data_key(call: Call) -> Answer:
    """A fresh key, with its ciphertext."""
    reveal = _FORMS.get(call.parts["form"])
    if reveal is None:
        raise UsageError("a data key is either plaintext or wrapped")
    _refuse(call.fields, "nonce")
    made = call.services.service_key_use.data_key(
        call.by,
        _at(call),
        call.fields.number("bits", 256),
        call.fields.data("associated_data"),
        reveal=reveal,
        context=call.fields.data("context"),
    )
    data: dict[str, object] = {"ciphertext": made.text, "key_version": made.version}
    if made.plain is not None:
        data["plaintext"] = ciphertext.encoded(made.plain.reveal())
    return Answer(data)


def random(call: Call) -> Answer:
    """Random bytes."""
    wanted = call.parts.get("bytes") or call.fields.text("bytes", "32")
    count = Fields({"bytes": wanted}).number("bytes")
    made = call.services.service_key_use.random(call.by, call.at.path, count)
    return Answer({"random_bytes": _formed(made, call.fields.text("format", "base64"))})


def hash_(call: Call) -> Answer:
    """The digest of some bytes."""
    name = call.parts.get("algorithm") or call.fields.text("algorithm", "sha2-256")
    data = ciphertext.decoded(call.fields.members.get("input"), "input")
    made = call.services.service_key_use.hash(call.by, call.at.path, name, data)
    return Answer({"sum": _formed(made, call.fields.text("format", "hex"))})


def hmac(call: Call) -> Answer:
    """Authenticate a message, or a batch of them."""
    found = call.services.service_key_use.hmac(call.by, _at(call), _to_sign(call))
    return _result(call, found, lambda outcome: {"hmac": outcome.text})


def sign(call: Call) -> Answer:
    """Sign a message, or a batch of them."""
    found = call.services.service_key_use.sign(call.by, _at(call), _to_sign(call))
    return _result(call, found, _signed)


def verify(call: Call) -> Answer:
    """Say whether the key signed, or authenticated, a message or a batch of them."""
    use = call.services.service_key_use
    is_hmac = any("hmac" in one for one in _batch(call))
    items = _to_sign(call, made="hmac" if is_hmac else "signature")
    run = use.verify_hmac if is_hmac else use.verify
    return _result(call, run(call.by, _at(call), items), lambda outcome: {"valid": outcome.valid})


def _signed(outcome: Outcome) -> dict[str, object]:
    data: dict[str, object] = {"signature": outcome.text, "key_version": outcome.version}
    if outcome.public and not outcome.public.startswith("-----"):
        data["publickey"] = outcome.public
    return data


def is_one_of_few(parts: Mapping[str, str]) -> bool:
    """Whether a path has no part that its caller may choose but the name of a key."""
    return parts.keys() == {"name"} or (
        parts.keys() == {"name", "form"} and parts["form"] in _FORMS
    )


# ---- parts ---------------------------------------------------------------------------------------


def _at(call: Call) -> KeyAt:
    return KeyAt(call.at, call.parts["name"])


def _refuse(fields: Fields, *names: str) -> None:
    for name in names:
        if fields.text(name):
            raise UsageError(f"{name} is not taken")


def _batch(call: Call, *, with_context: bool = False) -> list[Fields]:
    given = call.fields.members.get("batch_input")
    if given is None:
        one = [call.fields]
    else:
        if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
            raise UsageError("batch_input should be a list of objects")
        if not 0 < len(given) <= MOST_AT_ONCE:
            raise UsageError(f"missing batch input to process, or more than {MOST_AT_ONCE} items")
        one = [Fields(item) for item in given]
    for item in one:
        _refuse(item, "nonce", *(() if with_context else ("context",)))
    return one


def _to_decrypt(call: Call) -> list[ToDecrypt]:
    return [
        ToDecrypt(one.members.get("ciphertext"), one.data("associated_data"), one.data("context"))
        for one in _batch(call, with_context=True)
    ]


def _to_sign(call: Call, made: str = "") -> list[ToSign]:
    fields = call.fields
    _refuse(fields, "signature_context")
    if fields.text("marshaling_algorithm", "asn1") not in {"asn1", ""}:
        # a signature in another form than the caller reads would be taken for a wrong one
        raise UsageError("marshaling_algorithm is asn1: signatures have no other form here")
    named = call.parts.get("algorithm", "")
    default = fields.text("hash_algorithm") or fields.text("algorithm") or "sha2-256"
    prehashed = fields.truth("prehashed")
    return [
        ToSign(
            ciphertext.decoded(one.members.get("input"), "input"),
            named or default,
            prehashed,
            one.number("key_version", fields.number("key_version")),
            one.members.get(made) if made else None,
        )
        for one in _batch(call)
    ]


def _text_and_version(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    def one(outcome: Outcome) -> dict[str, object]:
        return {name: outcome.text, "key_version": outcome.version}

    return one


def _result(call: Call, found: Sequence[Outcome], one: Any) -> Answer:
    if "batch_input" not in call.fields:
        return Answer(one(found[0]))
    results: list[Mapping[str, object]] = []
    for outcome, asked in zip(found, call.fields.members["batch_input"], strict=True):
        result = one(outcome) if outcome.error is None else {"error": outcome.error.message}
        if isinstance(asked.get("reference"), str):
            result["reference"] = asked["reference"]
        results.append(result)
    failed = any(outcome.error is not None for outcome in found)
    status = call.fields.number("partial_failure_response_code", 400) if failed else 0
    if status and not 200 <= status < 600:
        raise UsageError("partial_failure_response_code is no status")
    return Answer({"batch_results": results}, status=status)


def _formed(data: bytes, form: str) -> str:
    if form == "hex":
        return data.hex()
    if form == "base64":
        return ciphertext.encoded(data)
    raise UsageError(f'unsupported encoding format {form[:40]!r}; must be "hex" or "base64"')


def _route(operation: str, pattern: str, handle: Any) -> Route:
    return Route(ENGINE, operation, pattern, handle)


ROUTES = (
    _route("list", "keys", names),
    _route("write", "keys/{name}", create),
    _route("read", "keys/{name}", read),
    _route("delete", "keys/{name}", delete),
    _route("write", "keys/{name}/config", configure),
    _route("write", "keys/{name}/rotate", rotate),
    _route("write", "keys/{name}/trim", trim),
    _route("read", "backup/{name}", back_up),
    _route("write", "restore", restore),
    _route("write", "restore/{name}", restore),
    _route("read", "export/{kind}/{name}", export),
    _route("read", "export/{kind}/{name}/{version}", export),
    _route("write", "encrypt/{name}", encrypt),
    _route("write", "decrypt/{name}", decrypt),
    _route("write", "rewrap/{name}", rewrap),
    _route("write", "datakey/{form}/{name}", data_key),
    _route("write", "random", random),
    _route("write", "random/{bytes}", random),
    _route("write", "hash", hash_),
    _route("write", "hash/{algorithm}", hash_),
    _route("write", "hmac/{name}", hmac),
    _route("write", "hmac/{name}/{algorithm}", hmac),
    _route("write", "sign/{name}", sign),
    _route("write", "sign/{name}/{algorithm}", sign),
    _route("write", "verify/{name}", verify),
    _route("write", "verify/{name}/{algorithm}", verify),
)
