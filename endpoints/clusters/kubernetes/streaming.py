"""An answer that does not end: read piece by piece, and interrupted from another thread."""

import contextlib
from typing import Any


class Answer:
    """An open answer of an API server; `silence` is how many seconds may pass without a byte of it."""

    PIECE = 65_536  # bytes

    def __init__(self, response: Any, silence: float) -> None:
        """`response` is one of urllib3 whose body was not read yet."""
        self._response = response
        connection = response.connection
        if connection is not None and connection.sock is not None:
            connection.sock.settimeout(silence)  # until now it was that of an ordinary answer

    def read(self) -> bytes:
        """Return what has come, b"" at the end of the answer; raises what urllib3 raises."""
        return bytes(self._response.read1(self.PIECE))

    def interrupt(self) -> None:
        """End a `read` that waits, from any thread."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._response.shutdown()

    def close(self) -> None:
        """Close the connection: it may be in the middle of something."""
        with contextlib.suppress(OSError):
            self._response.close()
