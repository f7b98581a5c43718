"""Rendering a chat with the template of a tokenizer: the same text on every day, and errors that
name the template.

Templates of Llama 3 and others write today's date into the prompt (`date_string`, `strftime_now`).
A prompt that changes at midnight cannot be drawn again, so the date is pinned: to the option
`date_string`, by default to `DATE`, the day that the templates of Llama 3.2 fall back to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2.exceptions import TemplateError

from sage_bench.utils.errors import ModelError, UsageError

DATE = "26 Jul 2024"
FORMAT = "%d %b %Y"
CLOCK = "strftime_now"  # what transformers calls the clock it lends to templates
_CALL = re.compile(CLOCK + r"""\(\s*(["'])(.*?)\1\s*\)""")


def pin_date(template: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options of a template, with a date where the template would ask for today's.

    >>> pin_date("{{ date_string }}"), pin_date("{{ messages }}", {"enable_thinking": False})
    ({'date_string': '26 Jul 2024'}, {'enable_thinking': False})
    """
    options = dict(options or {})
    if "date_string" in template or CLOCK in template:
        options.setdefault("date_string", DATE)
    return options


def render_chat(
    tokenizer: Any, messages: list[dict[str, str]], options: Mapping[str, Any] | None = None
) -> str:
    """The chat up to where the assistant begins to speak. Raises `ModelError` when the template is
    broken or refuses these messages, `UsageError` for a date that is none."""
    template = str(tokenizer.chat_template)
    given = pin_date(template, options)
    if CLOCK in template:
        given["chat_template"] = without_clock(template, str(given["date_string"]))
    where = str(getattr(tokenizer, "name_or_path", "") or "tokenizer")
    try:
        text: str = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, **given
        )
    except (TemplateError, ValueError, TypeError) as error:
        raise ModelError(
            f"its chat template does not render {_roles(messages)}: {_reason(error)}",
            where=where,
            remedy=_remedy(messages),
        ) from error
    return text


def without_clock(template: str, date: str) -> str:
    """The template with a fixed day in the place of calls of the clock.

    >>> without_clock("on {{ strftime_now('%Y-%m-%d') }}", "26 Jul 2024")
    'on {{ "2024-07-26" }}'
    """
    try:
        day = datetime.strptime(date, FORMAT)
    except ValueError:
        if "date_string" in template:  # it takes the text as it is, and looks at no clock then
            return template
        raise UsageError(
            f"`{date}` is not a date of this template",
            where="template_options.date_string",
            remedy=f"write it like `{DATE}`",
        ) from None
    return _CALL.sub(lambda m: json.dumps(day.strftime(m[2])), template)


def _roles(messages: list[dict[str, str]]) -> str:
    return "a chat of " + ", ".join(m["role"] for m in messages)


def _reason(error: Exception) -> str:
    line = getattr(error, "lineno", None)
    place = f" (line {line} of the template)" if line else ""
    return f"{type(error).__name__}: {str(error).strip() or 'no message'}{place}"


def _remedy(messages: list[dict[str, str]]) -> str:
    remedy = "repair chat_template.jinja, or give another with `--chat-template FILE`"
    if any(m["role"] == "system" for m in messages):
        remedy += "; for a template that refuses a system message, give prompts with an empty one"
    return remedy
