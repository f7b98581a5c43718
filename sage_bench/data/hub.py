"""Rows of a dataset of the Hugging Face Hub: pinned, from the cache when offline, with errors that
say what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sage_bench.utils.errors import DataError


class GatedError(DataError):
    """A dataset whose terms somebody has to accept first. url: where."""

    def __init__(self, what: str, url: str, *, where: str):
        self.url = url
        super().__init__(
            what,
            where=where,
            remedy=(
                f"accept its terms at {url} and `export HF_TOKEN=...`, or give --data {where}=FILE"
            ),
        )


def go_offline() -> None:
    """No network from here on in this process and its children; only what is cached is used."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    import datasets
    from huggingface_hub import constants

    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = (
        True  # both read the variables on import only
    )


def is_offline() -> bool:
    import datasets

    return bool(datasets.config.HF_HUB_OFFLINE)


def has_token() -> bool:
    import huggingface_hub

    return bool(huggingface_hub.get_token())


def rows(
    task: str, hub: Mapping[str, Any], gated: str | None = None
) -> Iterator[Mapping[str, Any]]:
    """Rows of `hub` = {"id", "config", "split", "revision"}.

    Raises `GatedError` when its terms (at the URL `gated`) are not accepted, and `DataError` when
    it can be had neither from the Hub nor from the cache, or when the cache holds another revision
    than the pinned one.
    """
    import datasets

    place = f"{hub['id']}" + (f" at {hub['revision'][:10]}" if hub.get("revision") else "")
    try:
        data = datasets.load_dataset(
            hub["id"], hub.get("config"), split=hub["split"], revision=hub.get("revision")
        )
    # network, access, cache and format each have types of their own, from several libraries
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {line}"
        if gated and ("gated" in line.lower() or is_offline() or not has_token()):
            raise GatedError(
                f"{hub['id']} is gated and was not opened ({reason})", gated, where=task
            ) from error
        if is_offline():
            raise DataError(
                f"{place} is not in the cache of this machine, and the network is switched off",
                where=task,
                remedy=(
                    f"once with a network: `sage-bench validate -t {task}`; or give --data"
                    f" {task}=FILE"
                ),
            ) from error
        raise DataError(
            f"{place} cannot be loaded: {reason}",
            where=task,
            remedy=f"check network and HF_TOKEN, or give --data {task}=FILE",
        ) from error
    found = cached_revision(data)
    if hub.get("revision") and found and found != hub["revision"]:
        raise DataError(
            f"the cache holds {hub['id']} at {found[:10]}, the task pins {hub['revision'][:10]}",
            where=task,
            remedy=(
                f"once with a network: `sage-bench validate -t {task}`; or give --data {task}=FILE"
            ),
        )
    yield from data


def cached_revision(data: Any) -> str | None:
    """The revision a loaded dataset was cached under (the name of its folder), or None where that
    is no revision."""
    files = getattr(data, "cache_files", None)
    name = Path(files[0]["filename"]).parent.name if files else ""
    return name if re.fullmatch(r"[0-9a-f]{40}", name) else None
