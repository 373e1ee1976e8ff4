"""HTTP/1.1 with the method LIST of Vault's clients, which the parser of our server does not know.

The parser knows LINK, of the same length, which nobody uses. The first word of a request is exchanged before the parser
sees it; a request that was sent before the answer to the one before is left as it is, and a LIST among those is refused.
"""

from strongroom.doors.http.protocol import BoundedProtocol
from strongroom.system.compat import override

LIST = "LINK"
"""The method that the application sees in place of LIST."""
_SENT, _PARSED = b"LIST ", b"LINK "


class VaultProtocol(BoundedProtocol):
    """The bounded protocol, for Vault's methods."""

    _is_first = True  # the next bytes begin a request
    _held = b""

    @override
    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._is_first:
            data, self._held = self._held + data, b""
            if len(data) < len(_SENT) and _SENT.startswith(data):
                self._held = data  # the timer of the connection runs on
                return
            self._is_first = False
            if data.startswith(_SENT):
                data = _PARSED + data[len(_SENT) :]
        super().data_received(data)

    @override
    def on_response_complete(self) -> None:
        """An answer was handed over."""
        super().on_response_complete()
        self._is_first = not self.pipeline
