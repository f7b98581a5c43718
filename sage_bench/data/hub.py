"""The one loader of datasets of the Hugging Face Hub: pinned, from the cache when offline, with
errors that say what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.utils.errors import DataError
from sage_bench.utils.progress import stderr


@dataclass(frozen=True, slots=True)
class HubData:
    """Where rows lie on the Hub, and what to say when they cannot be had.

    user: the task or dataset they are for, named in errors. instead: how to give a file in their
    place. fetch: the command that puts them into the cache. revision: the pinned commit, None where
    none is. gated: URL of terms that somebody has to accept first. pin: how to name a revision,
    with `{revision}` where it stands.
    """

    user: str
    id: str
    split: str
    config: str | None = None
    revision: str | None = None
    gated: str | None = None
    instead: str = "give a local .jsonl or .parquet file with data.source=FILE"
    fetch: str = "run the same command"
    pin: str = ""

    @classmethod
    def of_task(cls, task: str, hub: Mapping[str, Any], gated: str | None = None) -> HubData:
        """What a task file says under `metadata.hub`."""
        return cls(
            task,
            hub["id"],
            hub["split"],
            hub.get("config"),
            hub.get("revision"),
            gated,
            instead=f"give --data {task}=FILE",
            fetch=f"`sage-bench validate -t {task}`",
            pin="`revision: {revision}` under metadata.hub of the task file",
        )

    @property
    def place(self) -> str:
        return self.id + (f" at {self.revision[:10]}" if self.revision else "")


# the revision each dataset of this process was read at, by id; "unknown" where neither a pin nor
# the cache says
_read_at: dict[str, str] = {}


def revisions_read() -> dict[str, str]:
    """Datasets of the Hub that were read so far, with their revisions, for manifests."""
    return dict(sorted(_read_at.items()))


def _note_revision(data: HubData, cached: str | None) -> None:
    """Remember what was read; where nothing pins it, say so once, and how to pin it."""
    revision = data.revision or cached or "unknown"
    if data.revision is None and _read_at.get(data.id) != revision:
        how = data.pin.format(revision=cached or "COMMIT") or "a revision"
        stderr().print(
            f"warning: {data.user}: nothing pins {data.id}, its newest rows are used (revision"
            f" {revision}); {how} pins them",
            markup=False,
        )
    _read_at[data.id] = revision


class GatedError(DataError):
    """A dataset whose terms somebody has to accept first. url: where."""

    def __init__(self, what: str, url: str, *, where: str, instead: str):
        self.url = url
        remedy = f"accept its terms at {url} and `export HF_TOKEN=...`, or {instead}"
        super().__init__(what, where=where, remedy=remedy)


def go_offline() -> None:
    """No network from here on in this process and its children; only what is cached is used."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    import datasets
    from huggingface_hub import constants

    # both read the variables on import only
    datasets.config.HF_HUB_OFFLINE = True
    constants.HF_HUB_OFFLINE = True


@contextmanager
def from_the_cache(only: bool = True) -> Iterator[None]:
    """While it is entered, only what is cached is used. only=False: the network as before."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if only:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def is_offline() -> bool:
    import datasets

    return bool(datasets.config.HF_HUB_OFFLINE)


def has_token() -> bool:
    import huggingface_hub

    return bool(huggingface_hub.get_token())


def read_hub(data: HubData) -> Iterator[Mapping[str, Any]]:
    """The rows of a dataset of the Hub. Raises what `load_hub` raises."""
    yield from load_hub(data)


def load_hub(data: HubData) -> Any:
    """A dataset of the Hub, as `datasets` has it.

    Raises `GatedError` when its terms are not accepted, and `DataError` when it can be had neither
    from the Hub nor from the cache, or when the cache holds another revision than the pinned one.
    """
    import datasets

    try:
        found = datasets.load_dataset(
            data.id, data.config, split=data.split, revision=data.revision
        )
    # network, access, cache and format each have types of their own, from several libraries
    except Exception as error:
        raise _unavailable(data, error) from error
    cached = cached_revision(found)
    if data.revision and cached and cached != data.revision:
        raise DataError(
            f"the cache holds {data.id} at {cached[:10]}, the task pins {data.revision[:10]}",
            where=data.user,
            remedy=f"once with a network: {data.fetch}; or {data.instead}",
        )
    _note_revision(data, cached)
    return found


def _unavailable(data: HubData, error: Exception) -> DataError:
    line = (str(error).strip().splitlines() or [""])[0]
    reason = f"{type(error).__name__}: {line}"
    if data.gated and ("gated" in line.lower() or is_offline() or not has_token()):
        what = f"{data.id} is gated and was not opened ({reason})"
        return GatedError(what, data.gated, where=data.user, instead=data.instead)
    if is_offline():
        return DataError(
            f"{data.place} is not in the cache of this machine, and the network is switched off",
            where=data.user,
            remedy=f"once with a network: {data.fetch}; or {data.instead}",
        )
    return DataError(
        f"{data.place} cannot be loaded from the Hub: {reason}",
        where=data.user,
        remedy=f"check network and HF_TOKEN, or {data.instead}",
    )


def cached_revision(data: Any) -> str | None:
    """The revision a loaded dataset was cached under (the name of its folder), or None where that
    is not a revision."""
    files = getattr(data, "cache_files", None)
    name = Path(files[0]["filename"]).parent.name if files else ""
    return name if re.fullmatch(r"[0-9a-f]{40}", name) else None
