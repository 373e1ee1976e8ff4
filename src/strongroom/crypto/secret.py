"""Key material and secrets that cannot be shown by accident."""

import hmac
from typing import Never, final

from strongroom.overriding import override


@final
class SecretBytes:
    """Bytes without `str`, `repr`, pickle or format: only `reveal()` gives them, and that can be searched for.

    CPython cannot promise to erase them: copies may stay in memory until it is used again (SECURITY.md).
    """

    __slots__ = ("_material",)

    def __init__(self, material: bytes) -> None:
        self._material = bytes(material)

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._material

    def __len__(self) -> int:
        return len(self._material)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and hmac.compare_digest(
            self._material, other.reveal()
        )

    __hash__ = None  # type: ignore[assignment]  # a hash table would compare material in variable time

    @override
    def __repr__(self) -> str:
        return f"SecretBytes(<{len(self._material)} bytes>)"

    @override
    def __reduce__(self) -> Never:
        message = "secrets are not pickled"
        raise TypeError(message)
