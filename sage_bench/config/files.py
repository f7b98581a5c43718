"""Reading configuration files: YAML in which a key that stands twice is an error."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from sage_bench.config.nesting import flatten, nest
from sage_bench.utils.errors import UsageError

PRESETS = "sage_bench.config.presets"


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice; by itself YAML lets the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                continue
            line = key_node.start_mark.line + 1
            if key_node.value in lines:
                first = lines[key_node.value]
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key_node.value}` stands in line {first} and in {line}"
                )
            lines[key_node.value] = line
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises `yaml.YAMLError`, also for a key that stands twice.

    >>> parse_yaml("[0.9, 0.95]")
    [0.9, 0.95]
    """
    try:
        return yaml.load(text, _StrictLoader)
    except (RecursionError, ValueError) as error:  # brackets nested too deep; a date that is none
        raise yaml.YAMLError(f"cannot be read ({type(error).__name__})") from error


def read_yaml(path: Path | Traversable, origin: str) -> dict[str, Any]:
    """A YAML mapping; a file named by `include:` beside it is read first, and its values are
    replaced key by key.

    Raises `UsageError` naming the file when it cannot be read or is not a mapping.
    """
    # here: the layers read files, and files need no layers unless one includes another
    values = _read_mapping(path, origin)
    include = values.pop("include", None)
    if not include:
        return values
    beside = path.parent / include if isinstance(path, Path) else files(PRESETS) / include
    below = read_yaml(beside, f"{origin} (include {include})")
    return nest(dict(flatten(below)) | dict(flatten(values)))


def _read_mapping(path: Path | Traversable, origin: str) -> dict[str, Any]:
    try:
        # utf-8-sig: editors of Windows begin files with a mark that would be part of the first key
        values = parse_yaml(path.read_text(encoding="utf-8-sig")) or {}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(
            f"cannot be read: {reason}", where=origin, remedy="give an existing YAML file"
        ) from error
    except yaml.YAMLError as error:
        raise UsageError(
            f"is not YAML: {' '.join(str(error).split())}",
            where=origin,
            remedy="mend the line it names",
        ) from error
    if not isinstance(values, dict):
        raise UsageError(
            "must be a mapping of sections", where=origin, remedy="start with e.g. `backend: NAME`"
        )
    return values
