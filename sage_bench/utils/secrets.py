"""Keys and passwords among options: what is printed or written has stars in their place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

STARS = "***"
# names under which people give keys; `key_env` and the like name a variable and stay readable
_NAMES = (
    r"(?:x[-_]?)?(?:api|access|secret|auth|private|subscription|function)[-_]?(?:key|token|secret)s?"
    r"|(?:api|access|auth|bearer|hf|session|client)[-_]?(?:token|secret)"
    r"|token|secret|password|passwd|pwd|authorization|proxy-authorization|credentials?|signature|sig"
)
_SECRET_NAME = re.compile(rf"(?:{_NAMES})", re.IGNORECASE)
# in the query of a URL a bare `key` is one as well
_QUERY = re.compile(rf"([?&;#](?:{_NAMES}|key|code|auth)=)[^&;#\s]+", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# shapes that well-known services give their keys, wherever they stand
_SHAPES = re.compile(r"\b(?:sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,})")


def masked(value: Any, name: str = "") -> Any:
    """The same value with stars for secrets, in nested mappings, lists and URLs.

    name: the key the value stands under; dotted names count by their last part.

    >>> masked({"base_url": "https://me:pw@host/v1?api-key=abc&x=1", "body": {"api_key": "abc"}})
    {'base_url': 'https://me:***@host/v1?api-key=***&x=1', 'body': {'api_key': '***'}}
    >>> masked({"key_env": "MY_KEY", "max_tokens": 5, "sent": ["Authorization: Bearer abcdefgh"]})
    {'key_env': 'MY_KEY', 'max_tokens': 5, 'sent': ['Authorization: Bearer ***']}
    """
    if isinstance(value, Mapping):
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, name) for inner in value]
    if isinstance(value, tuple):
        return tuple(masked(inner, name) for inner in value)
    if not isinstance(value, str) or not value:
        return value
    if _SECRET_NAME.fullmatch(name.rpartition(".")[2]):
        return STARS
    return masked_text(value)


def masked_text(text: str) -> str:
    """A text with stars for the secrets that can be told by their place or their shape.

    >>> masked_text("http 401 from https://host/v1?key=abc with sk-abcdefghijklmnopqrstu")
    'http 401 from https://host/v1?key=*** with ***'
    """
    text = _QUERY.sub(rf"\g<1>{STARS}", text)
    text = _USER_INFO.sub(rf"\g<1>:{STARS}@", text)
    text = _BEARER.sub(rf"\g<1> {STARS}", text)
    return _SHAPES.sub(STARS, text)
