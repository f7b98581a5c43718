"""Reference numbers, the tests that consume them, and the proof that a consumer looks at every
number.

A consumer is a test of one group of recorded values, marked `@consumes("group")`.
`test_vectors_complete.py` changes the recorded
values one at a time and asks every consumer to fail: a value that is loaded but never compared is
found that way.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from sage_bench.generation.local.policy import Policy
from sage_bench.generation.prompts import Renderer
from sage_bench.utils.errors import SageBenchError

FILES = ("hint_oar.json", "sgpo_luffy_scaf_sft.json")
PathTo = tuple[Any, ...]  # keys and indices from a group down to one recorded value


@dataclass
class Given:
    """What consumers work with: all groups as recorded, a renderer, small random policies, and a
    memory for costly outputs of our code."""

    groups: dict[str, Any]
    renderer: Renderer
    policy: Callable[..., Policy]
    memory: dict[Any, Any] = field(default_factory=dict)

    def once(self, make: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        """make(given, *inputs, **options), remembered by its inputs: changing an expected value
        does not run our code again."""
        key = (make, json.dumps([inputs, options], default=repr))
        if key not in self.memory:
            self.memory[key] = make(self, *inputs, **options)
        return self.memory[key]


@dataclass(frozen=True)
class Consumer:
    """check(v, given) fails unless our code agrees with v. prose: patterns of values that are
    sentences. inert: patterns of inputs that must not matter (a padded token, a vote that is
    outvoted); that they do not is tested too.
    """

    check: Callable[[Any, Given], None]
    prose: Sequence[str] = ()
    inert: Sequence[str] = ()

    def kind(self, path: PathTo) -> str:
        name = ".".join(map(str, path))
        return next(
            (
                kind
                for kind in ("prose", "inert")
                if any(fnmatchcase(name, p) for p in getattr(self, kind))
            ),
            "compared",
        )


CONSUMERS: dict[str, Consumer] = {}
COLUMNS: dict[str, str] = {}  # column of grader.jsonl: the test that consumes it


def consumes(
    group: str, *, prose: Sequence[str] = (), inert: Sequence[str] = ()
) -> Callable[[Callable[[Any, Given], None]], Callable[[Given], None]]:
    """Make a test of a check(v, given) and note that it consumes this group of the recorded
    values."""

    def register(check: Callable[[Any, Given], None]) -> Callable[[Given], None]:
        assert group not in CONSUMERS, f"two consumers of {group}"
        CONSUMERS[group] = Consumer(check, prose, inert)

        def test(given: Given) -> None:
            check(given.groups[group], given)

        test.__name__, test.__doc__, test.__module__ = (
            check.__name__,
            check.__doc__,
            check.__module__,
        )
        return test

    return register


def consumes_columns(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Note that a test consumes these columns of grader.jsonl."""

    def register(test: Callable[..., None]) -> Callable[..., None]:
        COLUMNS.update(dict.fromkeys(names, test.__name__))
        return test

    return register


def load(shared: Path) -> dict[str, Any]:
    """All groups of both files, without their `_meta`."""
    found: dict[str, Any] = {}
    for name in FILES:
        groups = json.loads((shared / "specs/vectors" / name).read_text())
        assert not found.keys() & (groups.keys() - {"_meta"})
        found |= {k: v for k, v in groups.items() if k != "_meta"}
    return found


def graded(shared: Path) -> list[dict[str, Any]]:
    """The rows of grader.jsonl."""
    return [
        json.loads(line)
        for line in (shared / "specs/vectors/grader.jsonl").read_text().splitlines()
    ]


def leaves(v: Any, path: PathTo = ()) -> Iterator[PathTo]:
    """Paths of all recorded values."""
    if isinstance(v, dict | list):
        for key in v if isinstance(v, dict) else range(len(v)):
            yield from leaves(v[key], (*path, key))
    else:
        yield path


def changed(v: Any, path: PathTo) -> Any:
    """A copy in which the value at `path` is another one of the same sort."""
    if not path:
        return other(v)
    new = copy.deepcopy(v)
    place = new
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = other(place[path[-1]])
    return new


def other(value: Any) -> Any:
    """Another value of the same sort: numbers a percent and a thousandth larger, whole ones the
    next."""
    if value is None or isinstance(value, bool):
        return 1 if value is None else not value
    return (
        value + "?"
        if isinstance(value, str)
        else value + 1
        if isinstance(value, int)
        else value + 0.01 * abs(value) + 1e-3
    )


def agrees(check: Callable[[Any, Given], None], v: Any, given: Given) -> bool:
    """Whether a consumer is content; a changed input may also be one our code refuses."""
    try:
        check(v, given)
    except (AssertionError, ValueError, LookupError, TypeError, RuntimeError, SageBenchError):
        return False
    return True


def close(got: Any, want: Any, atol: float = 1e-9) -> None:
    """Fail unless shapes are the same and all numbers within `atol`."""
    torch.testing.assert_close(
        torch.as_tensor(got, dtype=torch.float64),
        torch.as_tensor(want, dtype=torch.float64),
        rtol=0,
        atol=atol,
    )


def same(got: Any, want: Any) -> None:
    """Fail unless equal (without pytest's explanation, which is slow for mappings)."""
    if got != want:
        raise AssertionError(f"{got!r} is not {want!r}")


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)
