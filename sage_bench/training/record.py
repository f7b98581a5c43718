"""Drawing groups without training: what `sage-bench record` does.

A frozen policy draws for every problem once, batch by batch, under the keys that a training run of
the same configuration would ask with. Every batch is a whole step of the record; a kill costs the
batch it was in, and the same command goes on from there and ends in the same files, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sage_bench.config.layers import Resolved
from sage_bench.config.schema import PLAIN, RunConfig
from sage_bench.engines.local import load
from sage_bench.generation import model_folders as pretrained
from sage_bench.generation.recorded.files import (
    ABOUT,
    About,
    ending_of,
    step_file,
)
from sage_bench.generation.recorded.record import Record
from sage_bench.generation.samplers.base import Sampler, draw_together
from sage_bench.generation.weights import policy_digest
from sage_bench.grading.registry import GRADERS
from sage_bench.judges.registry import JUDGES
from sage_bench.methods.base import Method, make_config
from sage_bench.methods.driver import collect
from sage_bench.methods.registry import BACKENDS
from sage_bench.training import setup
from sage_bench.training.batches import batch_of
from sage_bench.training.checkpoint import state_of
from sage_bench.training.recording import Recorder, about
from sage_bench.types import Answer, Problem, Request, Sample
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import locked, make_folder, to_trash, writing
from sage_bench.utils.progress import Bar

OFFERED = frozenset({"sample"})


@dataclass(frozen=True)
class RecordSummary:
    """What a record has. groups: first attempts; solved: those with a right completion."""

    folder: Path
    digest: str
    steps: int
    groups: int
    completions: int
    all_wrong: int
    all_right: int


class Drawing:
    """Answers `Sample`s of a frozen policy, and keeps them."""

    def __init__(self, sampler: Sampler, recorder: Recorder, seed: int):
        self.sampler = sampler
        self.recorder = recorder
        self.seed = seed

    def any(self, flag: bool) -> bool:
        return flag

    def run(self, asks: list[Request]) -> list[Answer]:
        samples = [ask for ask in asks if isinstance(ask, Sample)]
        answers: list[Answer] = [*draw_together(self.sampler, samples, self.seed)]
        self.recorder.tap(asks, answers)
        return answers


def record(
    resolved: Resolved[RunConfig], folder: Path, *, overwrite: bool = False, quiet: bool = False
) -> RecordSummary:
    """Draw and keep the groups of every problem. Raises `UsageError` for a method that needs more
    than completions, and where the folder holds another record."""
    config = resolved.config
    check(config)
    path = pretrained.model_path(config.model.path)
    renderer = setup.make_renderer(config, path)
    grader = GRADERS.get(config.grader)()
    make_folder(folder)
    with locked(folder):
        if overwrite:
            to_trash(folder)
        data = setup.load_data(config, grader, renderer, folder, quiet)
        config = setup.fill_in(config, path)
        policy, sampler = load(config)
        context = setup.make_context(config, renderer, grader, folder)
        context.context_tokens = sampler.context
        method = method_of(resolved, context)
        weights = policy_digest(policy.model)
        described = about(resolved.config, context, data.problems, weights)
        check_same(folder, described)
        with writing(folder / "quarantine"):
            data.write_quarantine(folder / "quarantine" / "rows.jsonl")
        recorder = Recorder(folder, config.train.seed)
        engine = Drawing(sampler, recorder, config.train.seed)
        try:
            _draw_all(method, data.problems, config, engine, described, weights, quiet)
        finally:
            sampler.close()
    return summary_of(folder)


def check(config: RunConfig) -> None:
    """Refuse what cannot be recorded, before anything is loaded."""
    JUDGES.names()  # backends and judges bring prompts: their keys are known once all are loaded
    missing = BACKENDS.get(config.backend).needs - OFFERED
    if missing or not BACKENDS.get(config.backend).needs:
        what = f"needs {sorted(missing)}" if missing else "draws nothing"
        raise UsageError(
            f"backend `{config.backend}` {what}: its groups cannot be recorded without training",
            where="backend",
            remedy=f"record with --backend {PLAIN}, whose draws any method can be trained on; or"
            " train with log.groups=all",
        )
    if config.engine.rollouts.startswith("recorded"):
        raise UsageError(
            "a record does not draw", where="engine.rollouts", remedy="draw with local or vllm"
        )


def method_of(resolved: Resolved[RunConfig], context: Any) -> Method:
    config = resolved.config
    kind: type[Method] = BACKENDS.get(config.backend)
    return kind(context, make_config(kind, config.method, resolved.origins.get("method", "method")))


def check_same(folder: Path, described: About) -> None:
    """Raise `UsageError` where the folder holds another record: its draws would be mixed."""
    if not (folder / ABOUT).is_file():
        return
    before, now = asdict(About.read(folder)), asdict(described)
    differing = [
        f"{name}: {before[section].get(name)} then, {value} now"
        for section in ("policy", "configuration")
        for name, value in now[section].items()
        if before[section].get(name, value) != value and not name.startswith(FREE)
    ]
    for name in ("backend", "grader", "data"):
        if before[name] != now[name]:
            differing.append(f"{name}: {before[name]} then, {now[name]} now")
    if differing:
        raise UsageError(
            f"the folder holds another record ({', '.join(differing[:5])})",
            where=str(folder),
            remedy="choose another --out, or --overwrite (moves the old one to .trash)",
        )


# what a record does not depend on
FREE = ("log.", "optim.", "objective.", "validation.", "train.steps", "train.save_every")


def batches(problems: Sequence[Problem], size: int, seed: int) -> Iterator[list[Problem]]:
    """One pass over the data in the order of a training run's first one; what fills no batch comes
    last."""
    whole = len(problems) // size
    seen: set[str] = set()
    for number in range(whole):
        batch = batch_of(problems, number, size, seed)
        seen.update(p.uid for p in batch)
        yield batch
    rest = [p for p in problems if p.uid not in seen]
    if rest:
        yield rest


def _draw_all(
    method: Method,
    problems: Sequence[Problem],
    config: RunConfig,
    engine: Drawing,
    described: About,
    weights: str,
    quiet: bool,
) -> None:
    todo = list(batches(problems, config.train.prompts_per_step, config.train.seed))
    recorder, context = engine.recorder, method.ctx
    if any(method.prepare(problem) is not None for problem in problems):
        raise UsageError(
            f"backend `{config.backend}` prepares its problems before it draws",
            where="backend",
            remedy=f"record with --backend {PLAIN}, or train with log.groups=all",
        )
    done = _done(recorder.folder, len(todo), method)
    recorder.begin(done, described)
    with Bar(f"record {config.backend}", len(todo), done, quiet=quiet) as bar:
        for step in range(done, len(todo)):
            context.step, context.steps, context.progress = step, len(todo), step / len(todo)
            context.events.clear()
            context.trail.clear()
            recorder.expect(step, todo[step])
            items = collect(
                method, todo[step], engine, step=step, max_rounds=config.train.max_rounds
            )
            recorder.add(todo[step], items, context, step=step)
            recorder.write(step, weights, state_of(method, step))
            reward = sum(float(item.group.rewards.mean()) for item in items) / len(items)
            bar.set(step + 1, note=f"reward {reward:.3f}")


def _done(folder: Path, steps: int, method: Method) -> int:
    """Whole steps that are there; the method is brought to where the last of them left it."""
    done, last = 0, None
    while done < steps and (ending := ending_of(step_file(folder, done))) is not None:
        done, last = done + 1, ending
    if last is not None and last.state:
        method.load_state_dict(dict(last.state))
    return done


def summary_of(folder: Path) -> RecordSummary:
    """Counts of a record."""
    found = Record.open(folder)
    groups = [found.load(key) for key in found.groups()]
    rewards = [group.rewards or [] for group in groups]
    return RecordSummary(
        folder=folder,
        digest=found.digest,
        steps=len(found.steps),
        groups=len(groups),
        completions=sum(len(group.completions) for group in groups),
        all_wrong=sum(max(own, default=0) <= 0 for own in rewards),
        all_right=sum(min(own, default=0) > 0 for own in rewards),
    )
