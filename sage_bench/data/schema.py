"""What the files of a run folder hold: the one declaration, for whoever writes or reads them.

JSON documents are pydantic models, rows of JSON lines are typed dictionaries (they are read by the
ten thousand). Every field has its description here, and `docs/files-of-a-run.md` is made from them
(`sage_bench.data.files_page`). Folders of earlier versions stay readable: a field that did not
exist then has a default or may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from sage_bench.utils.typed_files import Document, RowFormat

_ROW = ConfigDict(extra="allow", strict=True)
REDO = "run the same command in another --out, or restore the file from a copy"


def about(text: str) -> Any:
    """The description of a field."""
    return Field(description=text)


# --- An evaluation: <out>/<model>/<fingerprint>/ -------------------------------------------------


class Manifest(Document):
    """What every manifest says, whatever the run is."""

    kind: Annotated[str, about("train or eval")]


class EvalManifest(Document):
    """What was asked of which model, and what decided the samples."""

    remedy: ClassVar[str] = (
        "restore the file from a copy, or run the same `sage-bench eval` command with another --out"
    )

    kind: Annotated[Literal["eval"], about("tells an evaluation from a training run")] = "eval"
    model: Annotated[str, about("what was evaluated: a folder, a Hub id, or a server's name")]
    label: Annotated[
        dict[str, Any],
        about(
            "what weights say of themselves: method, train_seed, step, preset (null where not), and"
            " how a checkpoint was chosen: select_rule"
        ),
    ]
    tasks: Annotated[dict[str, int], about("samples a question, by task")]
    seed: Annotated[int, about("base of the sampling seeds")] = 0
    limit: Annotated[int | None, about("first questions of each task only; null = all")] = None
    sampling: Annotated[
        dict[str, dict[str, Any]],
        about("by task: questions, temperature, top_p, max_gen_toks, until, prompt_id, data_rev"),
    ] = Field(default_factory=dict)
    fingerprint: Annotated[
        dict[str, Any], about("everything that decides the samples except how many there are")
    ] = Field(default_factory=dict)
    versions: Annotated[dict[str, str], about("versions of the packages that decide results")] = (
        Field(default_factory=dict)
    )
    recorded: Annotated[
        str, about("the record its rollouts were taken from; empty where they were drawn")
    ] = ""
    earlier_versions: Annotated[
        list[dict[str, str]], about("those of earlier calls into this folder, where they differ")
    ] = Field(default_factory=list)
    skipped: Annotated[
        dict[str, dict[str, Any]], about("tasks that had no data, and why (status, why, url)")
    ] = Field(default_factory=dict)
    golds: Annotated[
        dict[str, dict[str, Any]],
        about(
            "by task: what became of the rows (found, asked, corrected, excluded, other_data, ...)"
        ),
    ] = Field(default_factory=dict)
    gold_corrections: Annotated[
        Literal["on", "off"], about("whether the listed corrections were applied")
    ] = "on"
    grader: Annotated[str, about("the graders that decide, joined by commas")]
    graders: Annotated[dict[str, str], about("the grader of each task")] = Field(
        default_factory=dict
    )


@with_config(_ROW)
class SampleRow(TypedDict):
    """One completion: the source of truth of an evaluation, and its cache."""

    task: Annotated[str, about("name of the task")]
    doc_id: Annotated[int, about("number of the question, from 0")]
    sample: Annotated[int, about("number of the sample of that question, from 0")]
    seed: Annotated[int, about("seed it was drawn with")]
    prompt_hash: Annotated[str, about("hash of the rendered prompt and the sampling settings")]
    text: Annotated[str, about("the completion")]
    finish: Annotated[str, about("stop, or length (cut at the token limit)")]
    prompt_tokens: Annotated[int | None, about("tokens of the prompt")]
    tokens: Annotated[int | None, about("tokens of the completion")]
    time: NotRequired[Annotated[float, about("when it was stored, seconds since 1970")]]


@with_config(_ROW)
class GradeRow(TypedDict):
    """The verdict of one grader on one sample."""

    doc_id: Annotated[int, about("number of the question")]
    sample: Annotated[int, about("number of the sample")]
    correct: Annotated[bool, about("the verdict")]
    status: Annotated[str, about("ok, no_answer, parse_error, timeout or crash")]
    extracted: Annotated[str | None, about("the answer that was compared")]
    grader_version: NotRequired[Annotated[str, about("grader and packages that decided")]]


@with_config(_ROW)
class QuestionRow(TypedDict):
    """One question as it was graded."""

    doc_id: Annotated[int, about("number of the question, from 0")]
    uid: Annotated[str | int, about("its name in the source")]
    gold: Annotated[str, about("the gold answer, after corrections")]
    question: NotRequired[Annotated[str, about("its text, without what the prompt adds")]]
    options: NotRequired[Annotated[list[str] | None, about("options of multiple choice")]]


class GraderRecord(Document):
    """What decided the grades of one grader."""

    remedy: ClassVar[str] = "`sage-bench grade FOLDER` writes it anew"

    grader: Annotated[str, about("its name")]
    version: Annotated[str, about("its version, with those of the packages it uses")]
    packages: Annotated[dict[str, str], about("versions of the packages that decide grades")]
    canaries: Annotated[
        dict[str, str | bool | None], about("known pairs: as expected, or what came out instead")
    ]
    samples: Annotated[int, about("samples it graded")]
    statuses: Annotated[dict[str, int], about("how many of each status")]
    seconds: Annotated[float, about("time it took")]


class Votes(Document):
    """Classes of equal answers, kept until the grades change."""

    remedy: ClassVar[str] = "remove the file; it is made anew"

    grades: Annotated[str, about("hash of the grades file they were made from")]
    classes: Annotated[
        dict[str, dict[str, int]],
        about("question -> sample -> class: 0 right, -1 no answer, 1, 2, ... equal wrong answers"),
    ]


# --- A training run: <out>/ ----------------------------------------------------------------------


class TrainManifest(Document):
    """What is trained, with what, on what."""

    kind: Annotated[Literal["train"], about("tells a training run from an evaluation")] = "train"
    backend: Annotated[str, about("the method")]
    backend_place: Annotated[str, about("where its code lies")] = ""
    method: Annotated[dict[str, Any], about("its switches, defaults included")]
    model: Annotated[str, about("the initial policy")]
    engine: Annotated[dict[str, Any], about("what the engine says of itself")]
    grader: Annotated[str, about("version of the grader that rewards")]
    data: Annotated[dict[str, Any], about("problems used and set aside, and their hash")]
    steps: Annotated[int, about("planned steps")]
    versions: Annotated[dict[str, str], about("versions of the packages that decide results")]
    identity: Annotated[
        dict[str, str],
        about(
            "digests of what decides the weights: data, prompts, method, template, tokenizer,"
            " weights, version"
        ),
    ] = Field(default_factory=dict)
    accepted_changes: Annotated[
        list[dict[str, Any]],
        about("differences from the beginning of the run that somebody accepted: what, step, time"),
    ] = Field(default_factory=list)
    degraded: Annotated[
        list[str], about("columns the method reads and the data lack, where that was allowed")
    ] = Field(default_factory=list)
    recorded: Annotated[
        str, about("the record its rollouts were taken from; empty where they were drawn")
    ] = ""
    earlier_versions: Annotated[
        list[dict[str, str]], about("packages the run began or went on with, where they differ")
    ] = Field(default_factory=list)


class TrainConfig(Document):
    """The resolved configuration of a training run."""

    values: Annotated[dict[str, Any], about("every key with its value")]
    origins: Annotated[dict[str, Any], about("the layer each key came from")] = Field(
        default_factory=dict
    )


class TrainStatus(Document):
    """How far a training run is; written after every step."""

    remedy: ClassVar[str] = "remove the file; the next step writes it anew"

    state: Annotated[str, about("running, done, interrupted or failed")]
    step: Annotated[int, about("steps done")]
    steps: Annotated[int | None, about("planned steps")] = None
    pid: Annotated[int | None, about("the process, while it runs")] = None
    reward: Annotated[float | None, about("mean reward of the last step")] = None
    rollouts: Annotated[int | None, about("completions sampled, at the end")] = None
    error: Annotated[str | None, about("what ended a failed run")] = None
    activity: Annotated[str | None, about("what it is doing")] = None
    time: Annotated[float | None, about("when it was written, seconds since 1970")] = None


class RunState(Document):
    """checkpoints/<step>/run.json: where the run stands."""

    step: Annotated[int, about("steps done")]
    place: Annotated[Mapping[str, int], about("step, batches, rollouts")]
    steps: Annotated[int | None, about("planned steps")] = None


class CheckpointFiles(Document):
    """checkpoints/<step>/files.json: what belongs to a checkpoint, to see that it is whole."""

    files: Annotated[dict[str, str], about("SHA-256 of each file")]


class MethodState(Document):
    """checkpoints/<step>/method.json: what the method keeps."""

    state: Annotated[dict[str, Any], about("its `state_dict`")]
    prepared: Annotated[dict[str, Any], about("results of its `prepare`, by problem")]


@with_config(_ROW)
class LedgerRow(TypedDict):
    """What happened to one prompt in one step."""

    step: Annotated[int, about("number of the step, from 0")]
    uid: Annotated[str, about("the problem")]
    outcome: Annotated[str, about("mixed, rescued, graded, dead_wrong, dead_right or no_rollout")]
    level: Annotated[int, about("hint level of the group that counts, 0 = no hint")]
    reward: Annotated[float | None, about("mean reward of the group")]
    plain_reward: Annotated[float | None, about("mean reward of the attempt without a hint")]
    trail: Annotated[list[list[int | float]], about("(level, mean reward) of every attempt")]
    rollouts: Annotated[int, about("completions sampled for it")]
    tokens: Annotated[int, about("their tokens")]
    truncated: Annotated[int, about("completions cut at the limit")]
    trained_tokens: Annotated[int, about("tokens with a gradient")]
    dropped: Annotated[bool, about("rolled out, but left out of the update")]
    hint_calls: Annotated[int, about("hints asked for")]
    hint_tokens: Annotated[int, about("tokens of those hints")]
    judge_calls: Annotated[int, about("calls of the judge")]
    rounds: Annotated[int, about("rounds of requests")]
    status: Annotated[dict[str, int], about("statuses of the verdicts")]
    events: Annotated[dict[str, int], about("what the method counted")]
    scores: NotRequired[Annotated[list[float], about("where they are not the verifier's rewards")]]
    failed_calls: NotRequired[Annotated[int, about("calls that judge or teacher did not answer")]]


@with_config(_ROW)
class MetricsRow(TypedDict):
    """The numbers of one step. Further keys: rescued_level_K, events/*, learner/*, seconds/*, and
    what the method reports of its own."""

    step: Annotated[int, about("number of the step, from 0")]
    reward: Annotated[float | None, about("mean reward of the groups")]
    plain_reward: Annotated[float | None, about("mean reward without hints")]
    length: Annotated[float | None, about("mean tokens of a completion")]
    dead_wrong: Annotated[float, about("share of groups that were all wrong")]
    dead_right: Annotated[float, about("share of groups that were all right")]
    rescued: Annotated[float, about("share whose first right completion came under a hint")]
    mixed: Annotated[float, about("share with right and wrong completions, without a hint")]
    graded: Annotated[float, about("share that was all wrong, with a signal from partial credit")]
    dropped: Annotated[float, about("share left out of the update (dynamic sampling)")]
    groups: Annotated[int, about("groups rolled out")]
    hinted: Annotated[float, about("share whose counting group had a hint")]
    rollouts: Annotated[int, about("completions sampled")]
    extra_rollouts: Annotated[int, about("beyond one group for every prompt trained on")]
    tokens: Annotated[int, about("tokens sampled, hints included")]
    trained_tokens: Annotated[int, about("tokens with a gradient")]
    truncated: Annotated[float, about("share of completions cut at the limit")]
    hint_calls: Annotated[int, about("hints asked for")]
    judge_calls: Annotated[int, about("calls of the judge")]
    failed_calls: NotRequired[Annotated[int, about("calls that judge or teacher did not answer")]]
    hint_failures: Annotated[int, about("hints that could not be used")]
    weight_syncs: NotRequired[Annotated[float, about("times the sampler was sent the weights")]]
    sampler_restarts: NotRequired[Annotated[float, about("times its engine was brought back")]]
    probe_gap: NotRequired[
        Annotated[float, about("sampler's log-probabilities to the learner's: mean, nats a token")]
    ]
    probe_gap_max: NotRequired[Annotated[float, about("the same, of the worst token")]]
    recorded: NotRequired[Annotated[float, about("completions that a record answered with")]]
    drawn_live: NotRequired[Annotated[float, about("completions the record did not have")]]
    continued: NotRequired[Annotated[float, about("completions cut at a first length, drawn on")]]


@with_config(_ROW)
class ValidationRow(TypedDict):
    """Reward without hints on the validation problems."""

    step: Annotated[int, about("steps done")]
    reward: Annotated[float, about("mean reward")]
    solved: Annotated[float, about("share of problems solved at least once")]
    questions: Annotated[int, about("problems")]


@with_config(_ROW)
class CompletionsRow(TypedDict):
    """Some groups of a step, to be read by people."""

    step: Annotated[int, about("number of the step")]
    uid: Annotated[str, about("the problem")]
    level: Annotated[int, about("hint level")]
    prompt: Annotated[str, about("the rendered prompt")]
    hint: NotRequired[Annotated[str | None, about("the hint in it")]]
    answer: Annotated[str, about("the gold answer")]
    completions: Annotated[list[dict[str, Any]], about("text, finish, reward of each")]
    weights: NotRequired[
        Annotated[list[Any], about("(token, weight) of each completion, where the method has some")]
    ]


@with_config(_ROW)
class SetAsideRow(TypedDict):
    """A row that was not used (quarantine/train.jsonl, quarantine/groups.jsonl)."""

    place: Annotated[str, about("file:line")]
    reason: Annotated[str, about("why not")]
    row: NotRequired[Annotated[Any, about("the row as it was found")]]


SAMPLES = RowFormat(
    SampleRow, "remove the line and run the same `sage-bench eval` again: it draws what is missing"
)
QUESTIONS = RowFormat(
    QuestionRow, "run the same `sage-bench eval` command again: it writes the file anew"
)
GRADES = RowFormat(GradeRow, "`sage-bench grade FOLDER` writes the file anew")
LEDGER = RowFormat(LedgerRow, REDO)
METRICS = RowFormat(MetricsRow, REDO)
VALIDATION = RowFormat(ValidationRow, REDO)
COMPLETIONS = RowFormat(CompletionsRow, "remove the line: these texts are for people only")
SET_ASIDE = RowFormat(SetAsideRow, "remove the file: it is written anew when a run begins")
