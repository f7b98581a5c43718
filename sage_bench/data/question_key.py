"""One name for a question over all its copies."""

from __future__ import annotations

import hashlib
import re

_SPACING = re.compile(r"\\(?:left|right)(?![a-zA-Z])|\\[,!;: ]|[\s$~{}]")


def question_key(question: str) -> str:
    r"""What identifies a question over copies of a benchmark: its text without spaces, `$` and
    sizing commands.

    >>> key = question_key("find (x), please")
    >>> question_key("Find $\\left(x\\right)$, \n please") == key
    True
    >>> question_key("find (y), please") == key
    False
    """
    return hashlib.sha256(_SPACING.sub("", question).lower().encode()).hexdigest()[:16]
