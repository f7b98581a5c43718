"""Errors a user can act on: what went wrong, where, and what to do next.

Every error that reaches the command line is a `SageBenchError`; the CLI prints it as one paragraph
and exits with `exit_code` (the table of codes is in `sage_bench.cli.main`). Anything else is a bug
and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SageBenchError(Exception):
    """An error with a place and a remedy.

    >>> print(SageBenchError("no `answer` in this row", where="a.jsonl:3", remedy="add the field"))
    a.jsonl:3: no `answer` in this row. Remedy: add the field.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None):
        self.what = what
        self.where = where
        self.remedy = remedy
        text = f"{where}: {what}" if where else what
        if remedy:
            text = f"{_sentence(text)} Remedy: {_sentence(remedy)}"
        super().__init__(text)


def _sentence(text: str) -> str:
    """With a full stop, unless it ends in a mark of its own.

    >>> _sentence("did you mean `grpo`?"), _sentence("add the field"), _sentence("cpu, cuda, ...")
    ('did you mean `grpo`?', 'add the field.', 'cpu, cuda, ...')
    """
    return text if text.endswith(("?", "!", "...")) else text.rstrip(".") + "."


class UsageError(SageBenchError):
    """The command line, a name or a configuration key is wrong (exit code 2)."""

    exit_code = 2


class DataError(SageBenchError):
    """A dataset, benchmark or store cannot be used as it is."""


class ModelError(SageBenchError):
    """A model folder cannot be loaded, or lacks what a run needs (a chat template, say)."""


class TrainingError(SageBenchError):
    """Training cannot go on (non-finite loss, no usable prompt left)."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to stop, and it has saved what it could.

    number: of the signal; the exit code is 128 + number, as a shell reports it. explanation: how to
    go on.
    """

    def __init__(self, number: int, explanation: str):
        super().__init__(explanation)
        self.number = number
        self.explanation = explanation

    @property
    def exit_code(self) -> int:
        return 128 + self.number


class PartialError(SageBenchError):
    """What could be done is done and kept, but not all that was asked for (exit code 3)."""

    exit_code = 3


class ValidationError(SageBenchError):
    """A check of data, golds or versions failed (exit code 4)."""

    exit_code = 4


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known names, or an empty string.

    >>> did_you_mean("grop", ["grpo", "sage"])
    'did you mean `grpo`?'
    """
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if not close:
        return ""
    return "did you mean " + " or ".join(f"`{c}`" for c in close) + "?"
