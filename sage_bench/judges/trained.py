"""What a trained judge says of itself: where its weights are, and the words it is asked with.

`judge-train` writes `trained_judge.json` into its folder and beside the weights. A judge that was
taught with one wording must be asked with the same one, wherever it is used: in training, by
`judge-eval`, or behind an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sage_bench.generation.prompts import Messages, Prompts
from sage_bench.judges.base import (
    JUDGE_SYSTEM,
    JUDGE_SYSTEM_ALONE,
    JUDGE_USER,
    JUDGE_USER_ALONE,
)
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import read_json, write_json

JUDGE_FILE = "trained_judge.json"
TEXTS_OF_JUDGES = (JUDGE_SYSTEM, JUDGE_USER, JUDGE_SYSTEM_ALONE, JUDGE_USER_ALONE)
MAX_TOKENS = 1024  # longest verdict, unless a judge was taught shorter ones


@dataclass(frozen=True)
class TrainedJudge:
    """The contents of `trained_judge.json`.

    model: folder of the weights, relative to the file's own; "" where the file lies beside them.
    prompts: the texts it was taught with, by their keys. reference: whether it was shown the
    reference solution (shown, withheld or mixed). max_tokens: longest verdict it is given room for.
    """

    model: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    reference: str = "shown"
    max_tokens: int = MAX_TOKENS
    base_model: str = ""

    def write(self, folder: Path) -> None:
        write_json(folder / JUDGE_FILE, asdict(self))


def read_trained(path: str) -> TrainedJudge | None:
    """What lies in a folder (or is the file itself), with `model` as a path that can be loaded;
    None where there is no `trained_judge.json`. Raises `DataError` for a file that is not one."""
    file = Path(path) if path.endswith(".json") else Path(path) / JUDGE_FILE
    if not file.is_file():
        return None
    found = read_json(file)
    try:
        judge = TrainedJudge(**found)
        messages_of(judge)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"this does not describe a trained judge: {error}",
            where=str(file),
            remedy="run the same `sage-bench judge-train` again: it writes the file",
        ) from error
    model = str(file.parent / judge.model) if judge.model else str(file.parent)
    return TrainedJudge(**{**found, "model": model})


def messages_of(judge: TrainedJudge | None) -> Messages:
    """The words of a trained judge; the registered ones for None."""
    return Messages(Prompts.of(dict(judge.prompts)) if judge is not None else None)


def words_at(path: str) -> Messages:
    """The words in the folder of a trained judge, in its JSON file, or in a YAML file of prompts.
    Raises `UsageError` where there are none."""
    if path.endswith((".yaml", ".yml")):
        return Messages(Prompts.from_file(path))
    judge = read_trained(path)
    if judge is None:
        raise UsageError(
            f"there is no {JUDGE_FILE} here",
            where=path,
            remedy="give the folder of `sage-bench judge-train`, or a YAML file of prompts",
        )
    return messages_of(judge)


def texts_of(messages: Messages, reference: str) -> dict[str, str]:
    """The texts a judge is taught with, by key.

    Without the reference, what is asked with it is asked without it, so that nobody shows the
    judge what it never saw. Mixed: one system message for both, because a training run has one.

    >>> texts = texts_of(Messages(), "withheld")
    >>> "{solution}" in texts["judge_user"], texts["judge_user"] == texts["judge_user_alone"]
    (False, True)
    """
    texts = {key: messages.prompts.text(key) for key in TEXTS_OF_JUDGES}
    if reference == "withheld":
        texts[JUDGE_SYSTEM] = texts[JUDGE_SYSTEM_ALONE]
        texts[JUDGE_USER] = texts[JUDGE_USER_ALONE]
    if reference == "mixed":
        texts[JUDGE_SYSTEM_ALONE] = texts[JUDGE_SYSTEM]
    return texts
