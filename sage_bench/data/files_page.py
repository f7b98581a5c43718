"""`docs/files-of-a-run.md`: what each file of a run folder holds, made from the declarations.

`python -m sage_bench.data.files_page > docs/files-of-a-run.md` writes it anew; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from sage_bench.data import schema
from sage_bench.utils.typed_files import SCHEMA, Document, RowFormat

HEAD = f"""# Files of a run

This page is made from `sage_bench/data/schema.py`, where every file is declared
(`python -m sage_bench.data.files_page > docs/files-of-a-run.md`). Files are written and read
through those declarations only. A JSON document carries `"schema": {SCHEMA}`; files from before it
had the key count as the same version. Unknown keys are kept. A line of a `.jsonl` file that was cut
off by a kill is passed over; any other damage is an error that names file, line and field.

Fields marked *optional* may be missing.
"""


@dataclass(frozen=True)
class File:
    """One kind of file. holds: its declaration, None where the content is not ours to declare."""

    path: str
    about: str
    holds: type[Document] | RowFormat[Any] | None = None
    note: str = ""


EVALUATION = (
    File("manifest.json", "what was asked of which model", schema.EvalManifest),
    File("samples/TASK.jsonl", "one row a completion, appended as they come", schema.SAMPLES),
    File("questions/TASK.json", "one list, one entry a question", schema.QUESTIONS),
    File("grades/TASK.GRADER.jsonl", "one row a verdict, made from the two above", schema.GRADES),
    File("grades/GRADER.json", "what decided those grades", schema.GraderRecord),
    File("votes/TASK.GRADER.json", "made when majority votes are asked for", schema.Votes),
    File("results.json", "lm-eval's own results", note="Its schema is lm-eval's."),
    File("summary.csv", "one line a task: what the leaderboard shows of this run"),
    File("per_question.csv", "one line a question: samples, right ones, mean tokens"),
    File("openai_calls.jsonl", "one line a call, where a server draws the samples"),
    File("grades/superseded/", "grades by earlier versions of a grader"),
    File(".lock", "the number of the process that writes, or wrote last"),
)
TRAINING = (
    File("manifest.json", "what is trained, with what, on what", schema.TrainManifest),
    File(
        "config.json", "every key of the configuration, and where it came from", schema.TrainConfig
    ),
    File("status.json", "how far it is", schema.TrainStatus),
    File(
        "status.rankN.json",
        "the same of process N of several, while the run goes on or where it failed",
    ),
    File("metrics.jsonl", "one row a step", schema.METRICS),
    File("ledger.jsonl", "one row a prompt and step", schema.LEDGER),
    File("validation.jsonl", "one row a validation", schema.VALIDATION),
    File("completions.jsonl", "some texts of every step", schema.COMPLETIONS),
    File(
        "groups/",
        "every draw of the method, with `log.groups=all`",
        note="`record.json`, `prepare.jsonl` where something was drawn before the first step, and a"
        " `step_NNNNNN.jsonl` for every step: [Recorded groups](records.md) has their fields.",
    ),
    File(
        "quarantine/groups.jsonl",
        "lines of a record that were not used, if any (`engine.rollouts=recorded:DIR`)",
        schema.SET_ASIDE,
    ),
    File("quarantine/train.jsonl", "data rows that were not used, if any", schema.SET_ASIDE),
    File(
        "checkpoints/step_NNNNNN/",
        "the model as transformers loads it, with what the run needs to go on",
        note="A folder is complete or does not exist. Beside the model: `optimizer.safetensors`"
        " (the newest two), `engine.json`, `sage_bench.json` (method, seed, preset, step), and"
        " these:",
    ),
    File(
        "checkpoints/step_NNNNNN/files.json",
        "what belongs to the checkpoint, to see that it is whole",
        schema.CheckpointFiles,
    ),
    File("checkpoints/step_NNNNNN/run.json", "where the run stands", schema.RunState),
    File("checkpoints/step_NNNNNN/method.json", "what the method keeps", schema.MethodState),
    File("tensorboard/", "the same metrics, where `log.tensorboard` is on"),
    File(".lock", "the number of the process that writes, or wrote last"),
)


def markdown() -> str:
    """The page."""
    parts = [
        HEAD,
        "## An evaluation: `OUT/MODEL/FINGERPRINT/`\n",
        "`sage-bench eval` prints the folder. `OUT/leaderboard.csv` and `OUT/leaderboard.md` hold\n"
        "one table over all of them.\n",
        *(_section(file) for file in EVALUATION),
        "## A training run: `OUT/`\n",
        *(_section(file) for file in TRAINING),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _section(file: File) -> str:
    lines = [f"### `{file.path}`", "", f"{file.about[:1].upper()}{file.about[1:]}."]
    if file.note:
        lines += ["", file.note]
    if file.holds is not None:
        lines += ["", "| field | type | what it is |", "|---|---|---|", *_fields(file.holds)]
    return "\n".join([*lines, ""])


def _fields(holds: type[Document] | RowFormat[Any]) -> Iterator[str]:
    if isinstance(holds, RowFormat):
        found = TypeAdapter(holds.row).json_schema(by_alias=True)
    else:
        found = holds.model_json_schema(by_alias=True)
    required = set(found.get("required", ()))
    for name, value in found["properties"].items():
        optional = "" if name in required else " *optional*"
        text = re.sub(r"\s+", " ", value.get("description", "")).replace("|", "\\|")
        yield f"| `{name}` | {_type(value)}{optional} | {text} |"


def _type(value: dict[str, Any]) -> str:
    """A type in the words of JSON.

    >>> _type({"anyOf": [{"type": "integer"}, {"type": "null"}]})
    'integer or null'
    >>> _type({"type": "array", "items": {"type": "string"}})
    'list of string'
    """
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(v) for v in value["anyOf"]))
    if "const" in value:
        return f'"{value["const"]}"'
    if "enum" in value:
        return " or ".join(f'"{v}"' for v in value["enum"])
    kind = value.get("type", "anything")
    if kind == "array":
        return f"list of {_type(value.get('items', {}))}"
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"object of {_type(inner)}" if isinstance(inner, dict) and inner else "object"
    return str(kind)


if __name__ == "__main__":
    print(markdown(), end="")
