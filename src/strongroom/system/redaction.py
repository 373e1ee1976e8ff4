"""Masks anything that looks like a secret, in texts whose possible secrets are unknown.

This is the second line of defence. A caller that knows the secrets in play uses `foreign_words`, which finds them even
where no name such as `password` stands beside them.
"""

import re
from typing import Final

MASK: Final = "********"
_NAMES = r"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|data_key|master_key|private_key)[\w.-]*(?<!_id)"
_HEADERS = r"authorization|x-tableau-auth|cookie|set-cookie"
_VALUE = r"\"[^\"]*\"|'[^']*'|[^\s,;&)}\]<>\"']+"
_PATTERNS = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
        MASK,
    ),
    (re.compile(r"ENC\([A-Za-z0-9+/=]*\)?"), f"ENC({MASK})"),
    (re.compile(rf"(?i)\b({_HEADERS})([\"']?\s*[:=]\s*)[^\r\n]+"), rf"\1\2{MASK}"),
    (re.compile(rf"(?i)({_NAMES}[\"']?\s*[:=]\s*)(?:b?(?:{_VALUE}))"), rf"\1{MASK}"),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b((?:x-amz-)?sig(?:nature)?=)[^\s&\"']+"), rf"\1{MASK}"),
    # tokens that are recognised by their form: our access tokens, bearer credentials, JWT, tokens of OpenBao and Vault
    (re.compile(r"\bsrpat_[A-Za-z0-9_-]{16,}"), MASK),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]+){1,4}"), MASK),
    (re.compile(r"(?i)\bAGE-(?:SECRET-KEY|PLUGIN-[A-Z0-9]+)-[A-Z0-9-]*"), MASK),
    (re.compile(r"\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{20,}"), MASK),
)


def redact(text: str) -> str:
    """The text, with a mask in the place of everything that looks like a secret."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
