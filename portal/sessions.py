"""What a session holds, encrypted in its row: allauth keeps the secret of a half-finished authenticator app there."""

import json
from typing import Any

from portal import crypto


class Serializer:
    """JSON under GATEHOUSE_ENCRYPTION_KEYS. What no key opens any more is a session that has ended."""

    def dumps(self, obj: Any) -> bytes:
        """Return `obj` as it is stored."""
        return crypto.encrypt(json.dumps(obj, separators=(",", ":"))).encode()

    def loads(self, data: bytes) -> Any:
        """Return what `dumps` was given; raises ValueError when no configured key fits."""
        return json.loads(crypto.decrypt(data.decode()))
