"""Seeds from keys, so that nothing depends on the order in which things are drawn."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: str | int) -> int:
    """63-bit seed of any key: sha256 of its parts.

    >>> derive_seed(0, "aime24", 3, 7) == derive_seed(0, "aime24", 3, 7)
    True
    >>> derive_seed(0, "aime24", 3, 7) == derive_seed(0, "aime24", 37)
    False
    """
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
