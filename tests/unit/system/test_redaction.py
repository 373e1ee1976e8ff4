"""What looks like a secret is masked, whoever wrote the text."""

import pytest

from strongroom.system import redaction


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=geheim, x=1", "password=********, x=1"),
        ('{"password": "geheim 2", "user": "x"}', '{"password": ********, "user": "x"}'),
        ("<credentials name='a' password='geheim'/>", "<credentials name='a' password=********/>"),
        ("X-Tableau-Auth: geheim|geheim|x", "X-Tableau-Auth: ********"),
        ("Authorization: Bearer geheim", "Authorization: ********"),
        ("postgres://u:geheim@h/db", "postgres://u:********@h/db"),
        ("kms.persistent_store: ENC(AZgeheim+/=)", "kms.persistent_store: ENC(********)"),
        ("pgsql.readonly_password: geheim", "pgsql.readonly_password: ********"),
        ('personalAccessTokenSecret="geheim"', "personalAccessTokenSecret=********"),
        ("-----BEGIN EC PRIVATE KEY-----\ngeheim\n-----END EC PRIVATE KEY-----", "********"),
        ("-----BEGIN PRIVATE KEY-----\ngeheim", "********"),
        ("GET /?X-Amz-Signature=geheim&x=1", "GET /?X-Amz-Signature=********&x=1"),
        ("sent Bearer geheim-geheim to it", "sent Bearer ******** to it"),
        ("took eyJhbGciOiJ9.geheim.geheim as one", "took ******** as one"),
        ("token hvs.geheimgeheimgeheimgeheim", "token ********"),
        ("no recipient: AGE-SECRET-KEY-1GEHEIMGEHEIM", "no recipient: ********"),
        ("no recipient: age-plugin-yubikey-1geheim", "no recipient: ********"),
        ("https://:geheim@h/", "https://:********@h/"),
        ("token_id=5 mek_id=9", "token_id=5 mek_id=9"),
        ("Using RMK with ID x to decrypt KMS store", "Using RMK with ID x to decrypt KMS store"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, shown: str) -> None:
    assert redaction.redact(text) == shown
    assert "geheim" not in redaction.redact(text)
