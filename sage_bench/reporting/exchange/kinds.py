"""The forms an evaluation can be exported to, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sage_bench.reporting.exchange import eee, hub_results, inspect_log, lm_eval, model_card
from sage_bench.reporting.exchange.scores import Finished, finished
from sage_bench.utils.errors import UsageError, did_you_mean

WRITERS: dict[str, Callable[[Finished, Path], list[Path]]] = {
    "eee": eee.write,
    "lm-eval": lm_eval.write,
    "hf-results": hub_results.write,
    "inspect": inspect_log.write,
}
MODEL_CARD = "model-card"
KINDS = (*WRITERS, MODEL_CARD)


def export(
    folder: Path, kind: str, out: Path, *, name: str | None = None, grader: str | None = None
) -> list[Path]:
    """Write a run in the form of another project and return the files.

    name: what the model is called there, as ORG/MODEL. grader: whose verdicts, the run's own unless
    named. Raises `UsageError` for an unknown kind and for what the form has no place for, and
    `DataError` for an evaluation that lacks samples.
    """
    if kind not in KINDS:
        raise UsageError(
            f"unknown form `{kind}`; {did_you_mean(kind, KINDS)}".rstrip("; "),
            where="--to",
            remedy="one of " + ", ".join(KINDS),
        )
    if name is not None and (name.count("/") != 1 or not all(name.split("/"))):
        raise UsageError(
            f"`{name}` is not a name of the form ORG/MODEL",
            where="--name",
            remedy="e.g. --name my-org/my-model",
        )
    if kind == MODEL_CARD:
        return model_card.write(folder, out, name=name, grader=grader)
    return WRITERS[kind](finished(folder, name, grader), out)
