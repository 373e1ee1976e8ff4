"""Key material and secrets that cannot be shown by accident."""

import hmac
from typing import Never, final

from strongroom.system.compat import override


@final
class SecretBytes:
    """Bytes that `str`, `repr`, pickle and format do not show; only `reveal()` returns them, and is easy to search for.

    CPython cannot erase them: copies may stay in memory until that memory is used again (SECURITY.md).
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
