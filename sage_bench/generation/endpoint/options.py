"""What a user may say about an endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sage_bench.utils.errors import UsageError, did_you_mean


class Options(BaseModel):
    """What a user may say about an endpoint. The key is read from an environment variable and never
    written anywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(
        pattern=r"^https?://[^@\s]+$",
        description="up to and including `/v1`, without a name and password",
    )
    key_env: str = Field(
        "OPENAI_API_KEY",
        description="environment variable that holds the key; unset = no key is sent",
    )
    timeout: float = Field(
        60.0, gt=0, description="seconds for one try, from the request to the last byte"
    )
    tries: int = Field(
        4,
        ge=1,
        description="of one call; after timeouts, broken replies and statuses that may pass",
    )
    parallel: int = Field(16, ge=1, description="calls under way together")
    pause: float = Field(
        0.5,
        ge=0,
        description=(
            "seconds before the second try, doubled for each further one; a Retry-After is honoured"
            " up to `timeout` and `longest_wait`"
        ),
    )
    longest_wait: float = Field(60.0, ge=0, description="seconds between two tries, at most")
    patience: int = Field(
        32,
        ge=1,
        description="calls in a row that may fail for good before the rest of a round is not tried",
    )
    cache: str | None = Field(
        None, description="file of the cache, instead of one in the run folder"
    )
    prices: tuple[float, float] = Field(
        (0.0, 0.0), description="per million prompt and completion tokens, for the ledger"
    )
    body: dict[str, Any] = Field(
        default_factory=dict, description="further fields of the request; null takes one away"
    )


def check_names(
    options: Mapping[str, Any], name: str, others: Sequence[str] = (), example: str = ""
) -> None:
    """Raise `UsageError` for an option nobody knows, with the closest that there is. others: that
    the caller reads itself. example: of what is needed at least."""
    known = [*Options.model_fields, *others]
    for key in options:
        if key not in known:
            raise _unknown(key, known, name, example)


def read_options(options: Mapping[str, Any], name: str) -> Options:
    """Check the options a user gave. name: of the endpoint, in errors. Raises `UsageError` naming
    the option, and never showing a value (it may be a key)."""
    try:
        chosen = Options.model_validate(dict(options))
    except ValidationError as error:
        raise _refused(error, name) from None  # the cause would show the value
    if "key_env" in options and not os.environ.get(chosen.key_env):
        raise UsageError(
            f"the environment variable `{chosen.key_env}` is not set",
            where=f"{name}: key_env",
            remedy="export the key, or leave key_env out where none is needed",
        )
    return chosen


def _refused(error: ValidationError, name: str) -> UsageError:
    known = Options.model_fields
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return _unknown(key, list(known), name)
    return UsageError(first["msg"], where=f"{name}: {key}", remedy=f"options: {', '.join(known)}")


def _unknown(key: str, known: Sequence[str], name: str, example: str = "") -> UsageError:
    problem = f"unknown option; {did_you_mean(key, known)}".rstrip("; ")
    secret = ""
    if "key" in key and key != "key_env":
        secret = "the key belongs into the environment variable that `key_env` names; "
    such = f"; e.g. {example}" if example else ""
    return UsageError(
        problem, where=f"{name}: {key}", remedy=f"{secret}options: {', '.join(known)}{such}"
    )
