"""Recorded groups from Python: make a record, and say what methods would do with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sage_bench.api.settings import Overrides, training_config
from sage_bench.config.schema import PLAIN
from sage_bench.methods.registry import BACKENDS
from sage_bench.utils.errors import UsageError
from sage_bench.utils.registry import load_file

if TYPE_CHECKING:
    from sage_bench.generation.recorded.sampler import Missing
    from sage_bench.training.diagnosis import Diagnosis
    from sage_bench.training.record import RecordSummary


def record(
    model: str | None,
    data: str | None,
    *,
    out: Path | str,
    group_size: int | None = None,
    backend: str | None = None,
    configs: Sequence[str] = (),
    overrides: Overrides = (),
    backend_files: Sequence[str] = (),
    overwrite: bool = False,
    quiet: bool = True,
) -> RecordSummary:
    """Draw one group a problem from a frozen policy and keep it with its log-probabilities; the
    same call goes on where an earlier one was killed.

    backend: whose requests are drawn, the plain baseline's by default. Raises `UsageError` for a
    wrong name or key, and where `out` holds another record.
    """
    from sage_bench.training import record as recording

    words = override_words(overrides)
    if group_size is not None:
        words.append(f"method.group_size={group_size}")
    resolved = training_config(
        backend=backend or PLAIN,
        model=model,
        data=data,
        configs=configs,
        overrides=words,
        backend_files=backend_files,
    )
    return recording.record(resolved, Path(out), overwrite=overwrite, quiet=quiet)


def override_words(overrides: Overrides) -> list[str]:
    """Overrides as `key=value` words."""
    if isinstance(overrides, Sequence):
        return list(overrides)
    return [f"{key}={value}" for key, value in overrides.items()]


# sections of the configuration that decide what was drawn, and so what is asked of the record
FROM_RECORD = ("model.", "sampling.", "grader", "prompts", "train.seed", "method.group_size")


def diagnose(
    folder: Path | str,
    methods: Sequence[str],
    *,
    model: str | None = None,
    overrides: Overrides = (),
    backend_files: Sequence[str] = (),
    missing: Missing = "error",
    other_weights: bool = False,
    limit: int | None = None,
    decisive: int = 5,
    quiet: bool = True,
) -> Diagnosis:
    """What methods would do with the same recorded groups: dead groups, gradients, where the
    advantage lies, which rows decide.

    model: the policy that drew them, where it moved. overrides: keys of the configuration; a switch
    of one method is written with its name in front (`sgpo.judge=reference`). missing: "live" draws
    what a method wants beyond the record. Raises `UsageError` for a wrong name or key.
    """
    from sage_bench.generation.recorded.files import step_files
    from sage_bench.generation.recorded.record import Record
    from sage_bench.training import diagnosis

    for file in backend_files:
        load_file(file)
    if not methods:
        raise UsageError("no method is named", remedy="give --methods, names by comma")
    for name in methods:
        BACKENDS.get(name)
    record = Record.open(Path(folder))
    then = record.about.configuration
    known = {k: v for k, v in then.items() if k.startswith(FROM_RECORD) and v is not None}
    path = model or str(known.pop("model.path"))
    known.pop("model.path", None)
    contenders = {}
    for name in dict.fromkeys(methods):
        words = [f"{key}={json.dumps(value)}" for key, value in known.items()]
        contenders[name] = training_config(
            backend=name,
            model=path,
            # the problems come with the groups
            data=str(step_files(record.folder)[0]),
            overrides=[*words, *words_of(name, methods, override_words(overrides))],
        )
    return diagnosis.diagnose(
        record,
        contenders,
        missing=missing,
        other_weights=other_weights,
        limit=limit,
        decisive=decisive,
        quiet=quiet,
    )


def words_of(name: str, methods: Sequence[str], words: Sequence[str]) -> list[str]:
    """The overrides that are of one method: those for all, and its own switches.

    >>> words_of("sgpo", ["grpo", "sgpo"], ["sgpo.judge=x", "grpo.std_ddof=1", "grader=mcq"])
    ['method.judge=x', 'grader=mcq']
    """
    mine = []
    for word in words:
        owner, _, rest = word.partition(".")
        if owner == name:
            mine.append(f"method.{rest}")
        elif owner not in methods:
            mine.append(word)
    return mine
