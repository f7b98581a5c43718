"""The training loop: problems, method, engine, ledger, checkpoint."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sage_bench.config.schema import RunConfig
from sage_bench.data.problems import Loaded
from sage_bench.engines.base import Engine
from sage_bench.generation.model_folders import preset_of
from sage_bench.methods.base import Collected, Context, Method, collect, drive
from sage_bench.training import checkpoint
from sage_bench.training.batches import batch_of, steps_per_epoch
from sage_bench.training.ledger import ledger_row, step_metrics
from sage_bench.training.sinks import Sinks
from sage_bench.types import Problem, Request, Sample, Sampling, Score
from sage_bench.utils.files import locked
from sage_bench.utils.progress import Bar

PREPARE_BATCH = 256  # problems whose `prepare` runs together


@dataclass
class Run:
    """Everything a run consists of, built by `sage_bench.training.setup`."""

    config: RunConfig
    folder: Path
    context: Context
    method: Method
    engine: Engine
    data: Loaded
    validation: Sequence[Problem]
    steps: int
    quiet: bool = False


class Stop:
    """Ctrl-C once: finish the step, save, leave with 130. Twice: leave now."""

    def __init__(self) -> None:
        self.asked = False
        self.before: Any = None

    def __enter__(self) -> Stop:
        try:
            self.before = signal.signal(signal.SIGINT, self._ask)
        except ValueError:  # not the main thread: whoever runs the loop there handles signals
            self.before = None
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *exc: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


@dataclass
class TrainState:
    """How far a run is; travels with the checkpoint.

    step: steps done. batches: batches of prompts taken (more than steps when groups are replaced).
    rollouts: completions sampled.
    """

    step: int = 0
    batches: int = 0
    rollouts: int = 0


def train(run: Run) -> Path:
    """Train to the end, from the newest checkpoint if there is one. Returns the last checkpoint.

    Every draw, order and update is a function of (configuration, step), so a run that was killed
    and started again ends in the same weights, bit for bit on a CPU. Raises `KeyboardInterrupt`
    after saving when it was interrupted.
    """
    with locked(run.folder), Stop() as stop:
        saved = checkpoint.load_latest(run.folder, run.engine, run.method)
        state = TrainState(**saved["place"]) if saved else TrainState()
        budget = run.method.rollout_budget()
        sinks = Sinks(run.folder, state.step, run.config.log.tensorboard)
        try:
            if saved is None:
                prepare(run)
                save(run, sinks, state)
                validate(run, sinks, 0)
            take_steps(run, sinks, state, stop, budget)
            done = is_done(run, state, budget)
            sinks.status(
                state="done" if done else "interrupted",
                step=state.step,
                steps=run.steps,
                rollouts=state.rollouts,
            )
        except BaseException as error:
            sinks.status(
                state="failed",
                step=state.step,
                steps=run.steps,
                error=f"{type(error).__name__}: {error}",
            )
            raise
        finally:
            sinks.close()
    if not done:
        raise KeyboardInterrupt
    return run.folder / "checkpoints" / checkpoint.name(state.step)


def is_done(run: Run, state: TrainState, budget: int | None) -> bool:
    """All steps are taken, or the method's budget of completions is spent."""
    return state.step >= run.steps or (budget is not None and state.rollouts >= budget)


def take_steps(run: Run, sinks: Sinks, state: TrainState, stop: Stop, budget: int | None) -> None:
    """Step, validate and save until the run is done or somebody asks it to stop."""
    config = run.config
    with Bar(f"train {config.backend}", run.steps, state.step, quiet=run.quiet) as bar:
        while not is_done(run, state, budget) and not stop.asked:
            metrics = one_step(run, sinks, state)
            done = is_done(run, state, budget)
            note = (
                f"reward {metrics['reward'] or 0:.3f}  no signal {metrics['dead_wrong']:.0%}"
                f"  {metrics['seconds/step']:.1f} s/step"
            )
            bar.set(state.step, state.step if done else None, note)
            sinks.status(
                state="running",
                step=state.step,
                steps=run.steps,
                pid=os.getpid(),
                reward=metrics["reward"],
                time=time.time(),
            )
            if done or state.step % config.validation.every == 0:
                validate(run, sinks, state.step)
            if done or stop.asked or state.step % config.train.save_every == 0:
                save(run, sinks, state)


def prepare(run: Run) -> None:
    """Run the method's `prepare` over the training problems, on the initial policy."""
    todo: list[tuple[Problem, Any]] = []
    for problem in run.data.problems:
        program = run.method.prepare(problem)
        if program is not None:
            todo.append((problem, program))
    if not todo:
        return
    with Bar(f"prepare {run.config.backend}", len(todo), quiet=run.quiet) as bar:
        for start in range(0, len(todo), PREPARE_BATCH):
            part = todo[start : start + PREPARE_BATCH]
            results, _ = drive([g for _, g in part], [p for p, _ in part], run.engine, step=-1)
            run.method.prepared.update({p.uid: r for (p, _), r in zip(part, results, strict=True)})
            bar.advance(len(part))


def one_step(run: Run, sinks: Sinks, state: TrainState) -> dict[str, Any]:
    """Roll out, credit, update, log; moves `state` on. Returns the step's metrics."""
    config, context, step = run.config, run.context, state.step
    began = time.perf_counter()
    context.step, context.steps, context.progress = step, run.steps, step / run.steps
    context.events.clear()
    context.trail.clear()
    items, kept = roll_step(run, state)
    rolled = time.perf_counter()
    gap = hint_gap(run, kept)
    stats = run.engine.update([row for item in kept for row in item.rows], config.objective)
    ended = time.perf_counter()
    trained = {id(item) for item in kept}
    rows = [ledger_row(step, item, context, dropped=id(item) not in trained) for item in items]
    seconds = {"rollout": rolled - began, "update": ended - rolled, "step": ended - began}
    metrics = step_metrics(rows, [item.group for item in items], {**stats, **gap}, seconds)
    # groups with token weights are rare: they are shown first
    by_interest = sorted(items, key=lambda item: "weights" not in item.group.notes)
    shown = by_interest[: config.log.completions]
    sinks.step(step, metrics, rows, [texts(context, step, item) for item in shown])
    state.step = step + 1
    state.rollouts += metrics["rollouts"]
    return metrics


def roll_step(run: Run, state: TrainState) -> tuple[list[Collected], list[Collected]]:
    """(everything rolled out in this step, what the update sees of it).

    Fresh batches replace groups the method does not keep, `method.refills` times at most.
    """
    wanted = run.config.train.prompts_per_step
    items = roll_batch(run, state)
    kept = [item for item in items if run.method.keep(item.group)]
    for _ in range(run.method.refills):
        if len(kept) >= wanted:
            break
        more = roll_batch(run, state)
        items += more
        kept += [item for item in more if run.method.keep(item.group)]
    return items, kept[:wanted]


def roll_batch(run: Run, state: TrainState) -> list[Collected]:
    """Roll out the next batch of prompts.

    Seeds hang on the batch's number, which is the step unless groups are replaced.
    """
    config, number = run.config, state.batches
    size = config.train.prompts_per_step
    run.context.epoch = number // steps_per_epoch(len(run.data.problems), size) + 1
    state.batches += 1
    problems = batch_of(run.data.problems, number, size, config.train.seed)
    return collect(run.method, problems, run.engine, step=number)


def hint_gap(run: Run, items: Sequence[Collected]) -> dict[str, float]:
    """Mean of log pi(o|q) - log pi(o|q, h) a token over some hinted completions.

    How far hinted answers are from what the policy says without the hint; a diagnostic for every
    method that uses hints (docs: HINT specification, A4). Empty where no completion was hinted.
    """
    hinted = [
        (item.group, completion)
        for item in items
        if item.group.level and not item.group.prompts
        for completion in item.group.completions[:1]
    ]
    chosen = hinted[: run.config.log.gap_rows]
    if not chosen or "score" not in run.engine.capabilities:
        return {}
    asks: list[Request] = []
    for group, completion in chosen:
        asks.append(Score(run.context.prompt(group.problem), completion.tokens))
        asks.append(Score(group.prompt, completion.tokens))
    scores: list[Any] = run.engine.run(asks)
    gaps = [
        float((plain - hint).mean()) for plain, hint in zip(scores[::2], scores[1::2], strict=True)
    ]
    return {"hint_gap": sum(gaps) / len(gaps)}


def texts(context: Context, step: int, item: Collected) -> dict[str, Any]:
    """Prompt, hint and completions of one group, to be read by people."""
    group = item.group
    row = {
        "step": step,
        "uid": group.problem.uid,
        "level": group.level,
        "prompt": context.renderer.tokenizer.decode(list(group.prompt)),
        "hint": group.notes.get("hint"),
        "answer": group.problem.answer,
        "completions": [
            {"text": context.text(c.tokens), "finish": c.finish, "reward": float(r)}
            for c, r in zip(group.completions, group.rewards, strict=False)
        ],
    }
    if "weights" in group.notes:
        row["weights"] = [
            spelled_weights(context, c.tokens, w)
            for c, w in zip(group.completions, group.notes["weights"], strict=True)
        ]
    return row


def spelled_weights(
    context: Context, tokens: Sequence[int], weights: Any
) -> list[tuple[str, float]]:
    """(text of the token, its weight in the advantage), for the report's coloured text."""
    return [
        (context.renderer.tokenizer.decode([t]), round(float(w), 4))
        for t, w in zip(tokens, weights, strict=True)
    ]


def validate(run: Run, sinks: Sinks, step: int) -> None:
    """Un-hinted reward on the validation problems at the rollout temperature."""
    if not run.validation:
        return
    settings = run.config.sampling
    params = Sampling(settings.temperature, settings.top_p, settings.max_tokens)
    samples = run.config.validation.samples
    asks: list[Request] = [
        Sample(run.context.prompt(p), samples, params, key=("validation", step, p.uid))
        for p in run.validation
    ]
    rewards = []
    for problem, completions in zip(run.validation, run.engine.run(asks), strict=True):
        answers = [run.context.text(c.tokens) for c in completions]
        verdicts = run.context.grader.grade(problem.answer, answers)
        rewards.append(sum(v.correct for v in verdicts) / len(verdicts))
    sinks.validation(
        step,
        {
            "reward": sum(rewards) / len(rewards),
            "solved": sum(r > 0 for r in rewards) / len(rewards),
            "questions": len(rewards),
        },
    )


def save(run: Run, sinks: Sinks, state: TrainState) -> None:
    """Write the checkpoint of the steps done so far."""
    sinks.sync()
    label = {
        "backend": run.config.backend,
        "seed": run.config.train.seed,
        "preset": preset_of(run.config.model.path),
    }
    checkpoint.save(
        run.folder,
        state.step,
        run.engine,
        run.method,
        state={"place": asdict(state), "steps": run.steps},
        label=label,
        keep=run.config.train.keep,
    )
