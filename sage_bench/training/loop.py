"""The training loop: problems, method, engine, ledger, checkpoint. It knows no particular method."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sage_bench.config import RunConfig
from sage_bench.data.problems import Loaded
from sage_bench.engines.base import Engine
from sage_bench.files import locked
from sage_bench.method import Collected, Context, Method, collect, drive
from sage_bench.pretrained import preset_of
from sage_bench.progress import Bar
from sage_bench.rollout import Problem, Sample, Sampling
from sage_bench.training import checkpoint
from sage_bench.training.batches import batch_of
from sage_bench.training.ledger import ledger_row, step_metrics
from sage_bench.training.sinks import Sinks

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


def train(run: Run) -> Path:
    """Train to the end, from the newest checkpoint if there is one. Returns the last checkpoint's folder.

    Every draw, order and update is a function of (configuration, step), so a run that was killed and started again ends
    in the same weights, bit for bit on a CPU. Raises `KeyboardInterrupt` after saving when it was interrupted.
    """
    config, folder = run.config, run.folder
    with locked(folder), Stop() as stop:
        state = checkpoint.load_latest(folder, run.engine, run.method)
        step = state["step"] if state else 0
        sinks = Sinks(folder, step, config.log.tensorboard)
        try:
            if state is None:
                prepare(run)
                save(run, sinks, 0)
                validate(run, sinks, 0)
            with Bar(f"train {config.backend}", run.steps, step, quiet=run.quiet) as bar:
                while step < run.steps and not stop.asked:
                    metrics = one_step(run, sinks, step)
                    step += 1
                    bar.advance(note=f"reward {metrics['reward'] or 0:.3f}  no signal {metrics['dead_wrong']:.0%}  {metrics['seconds/step']:.1f} s/step")
                    sinks.status(state="running", step=step, steps=run.steps, pid=os.getpid(), reward=metrics["reward"], time=time.time())
                    if step % config.validation.every == 0 or step == run.steps:
                        validate(run, sinks, step)
                    if step % config.train.save_every == 0 or step == run.steps or stop.asked:
                        save(run, sinks, step)
            sinks.status(state="interrupted" if step < run.steps else "done", step=step, steps=run.steps)
        except BaseException as error:
            sinks.status(state="failed", step=step, steps=run.steps, error=f"{type(error).__name__}: {error}")
            raise
        finally:
            sinks.close()
    if step < run.steps:
        raise KeyboardInterrupt
    return folder / "checkpoints" / checkpoint.name(step)


def prepare(run: Run) -> None:
    """Run the method's `prepare` over the training problems, on the initial policy."""
    todo = [(p, g) for p in run.data.problems if (g := run.method.prepare(p)) is not None]
    if not todo:
        return
    with Bar(f"prepare {run.config.backend}", len(todo), quiet=run.quiet) as bar:
        for start in range(0, len(todo), PREPARE_BATCH):
            part = todo[start : start + PREPARE_BATCH]
            results, _ = drive([g for _, g in part], [p for p, _ in part], run.engine, step=-1)
            run.method.prepared.update({p.uid: r for (p, _), r in zip(part, results, strict=True)})
            bar.advance(len(part))


def one_step(run: Run, sinks: Sinks, step: int) -> dict[str, Any]:
    """Roll out, credit, update, log."""
    config, context = run.config, run.context
    began = time.perf_counter()
    context.step, context.progress = step, step / run.steps
    context.events.clear()
    context.trail.clear()
    problems = batch_of(run.data.problems, step, config.train.prompts_per_step, config.train.seed)
    items = collect(run.method, problems, run.engine, step=step)
    rolled = time.perf_counter()
    stats = run.engine.update([row for item in items for row in item.rows], config.objective)
    ended = time.perf_counter()
    rows = [ledger_row(step, item, context.trail.get(item.group.problem.uid, []), context.events.get(item.group.problem.uid, {})) for item in items]
    seconds = {"rollout": rolled - began, "update": ended - rolled, "step": ended - began}
    metrics = step_metrics(rows, [item.group for item in items], stats, seconds)
    sinks.step(step, metrics, rows, [texts(context, step, item) for item in items[: config.log.completions]])
    return metrics


def texts(context: Context, step: int, item: Collected) -> dict[str, Any]:
    """Prompt, hint and completions of one group, to be read by people."""
    group = item.group
    tokenizer = context.renderer.tokenizer
    return {
        "step": step, "uid": group.problem.uid, "level": group.level, "prompt": tokenizer.decode(list(group.prompt)), "hint": group.notes.get("hint"),
        "answer": group.problem.answer, "completions": [{"text": context.text(c.tokens), "finish": c.finish, "reward": float(r)} for c, r in zip(group.completions, group.rewards, strict=False)],
    }


def validate(run: Run, sinks: Sinks, step: int) -> None:
    """Un-hinted reward on the validation problems at the rollout temperature."""
    if not run.validation:
        return
    settings = run.config.sampling
    params = Sampling(settings.temperature, settings.top_p, settings.max_tokens)
    asks = [Sample(run.context.prompt(p), run.config.validation.samples, params, key=("validation", step, p.uid)) for p in run.validation]
    rewards = []
    for problem, completions in zip(run.validation, run.engine.run(list(asks)), strict=True):
        verdicts = run.context.grader.grade(problem.answer, [run.context.text(c.tokens) for c in completions])  # type: ignore[union-attr]
        rewards.append(sum(v.correct for v in verdicts) / len(verdicts))
    sinks.validation(step, {"reward": sum(rewards) / len(rewards), "solved": sum(r > 0 for r in rewards) / len(rewards), "questions": len(rewards)})


def save(run: Run, sinks: Sinks, step: int) -> None:
    sinks.sync()
    label = {"backend": run.config.backend, "seed": run.config.train.seed, "preset": preset_of(run.config.model.path)}
    checkpoint.save(run.folder, step, run.engine, run.method, state={"steps": run.steps}, label=label, keep=run.config.train.keep)
