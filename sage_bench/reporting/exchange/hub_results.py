"""`.eval_results/*.yaml`: scores in a model's repository, which the Hub shows on its page.

One file a benchmark, in the form of `huggingface_hub.EvalResultEntry`. Only benchmarks with a data
set on the Hub have a place there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sage_bench.evaluation.tasks.spec import task_files
from sage_bench.reporting.exchange.scores import AVERAGE, Finished, Score
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import make_folder, write_text

FOLDER = ".eval_results"


def write(evaluation: Finished, out: Path) -> list[Path]:
    """Raises `UsageError` for a limited run, and where no benchmark has a place on the Hub."""
    if evaluation.run.limited:
        raise UsageError(
            f"{evaluation.run.limited}: the Hub would show it as a result of the benchmark",
            where=str(evaluation.run.folder),
            remedy="evaluate all questions, without --limit",
        )
    found = entries(evaluation)
    if not found:
        raise UsageError(
            f"no data set on the Hub is known for {', '.join(evaluation.run.tasks)}",
            where=str(evaluation.run.folder),
            remedy="task files name it under metadata.hub; use another form, such as --to eee",
        )
    folder = make_folder(out / FOLDER)
    files = []
    for task, entry in found.items():
        files.append(folder / f"{task}.yaml")
        write_text(files[-1], yaml.safe_dump([entry], sort_keys=False, allow_unicode=True))
    return files


def entries(evaluation: Finished) -> dict[str, dict[str, Any]]:
    """By task; benchmarks without a data set on the Hub are left out. Values are in percent."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    found = {}
    for score in evaluation.scores:
        hub = _hub(score.task)
        if score.metric != AVERAGE or not hub:
            continue
        config = hub.get("config")
        entry = EvalResultEntry(
            dataset_id=hub["id"],
            task_id=config if config and config != "default" else "default",
            value=100 * score.value,
            dataset_revision=hub.get("revision"),
            date=evaluation.date.strftime("%Y-%m-%dT%H:%M:%SZ"),
            notes=_notes(evaluation, score),
        )
        (found[score.task],) = eval_result_entries_to_yaml([entry])
    return found


def _hub(task: str) -> dict[str, Any]:
    file = task_files().get(task)
    metadata = (file.values.get("metadata") or {}) if file else {}
    return dict(metadata.get("hub") or {})


def _notes(evaluation: Finished, score: Score) -> str:
    sampling = evaluation.manifest["sampling"][score.task]
    parts = [f"avg@{score.samples} of {score.questions} questions, in percent"]
    if score.se is not None:
        parts.append(f"standard error {100 * score.se:.2f}, clustered by question")
    if score.low is not None and score.high is not None:
        parts.append(f"95 % interval {100 * score.low:.1f} to {100 * score.high:.1f}")
    parts.append(f"temperature {sampling.get('temperature')}, top-p {sampling.get('top_p')}")
    parts.append(f"at most {sampling.get('max_gen_toks')} tokens")
    parts.append(f"grader {evaluation.grader_of(score.task)}")
    return "; ".join(parts) + "; sage-bench"
