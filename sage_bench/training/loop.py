"""The training loop: problems, method, engine, ledger, checkpoint."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sage_bench.data.schema import RunState
from sage_bench.engines.base import RolloutBatch, Stats, TrainingProgram, follow
from sage_bench.engines.ranks import Ranks, ranks_of
from sage_bench.generation.model_folders import preset_of
from sage_bench.generation.recorded.files import GROUPS
from sage_bench.methods.base import Method
from sage_bench.methods.driver import Collected, collect, drive
from sage_bench.methods.guard import Guard
from sage_bench.training import checkpoint
from sage_bench.training.batches import batch_of, steps_per_epoch
from sage_bench.training.heartbeat import WAITING, Heartbeat, WatchedEngine, WatchedGrader
from sage_bench.training.ledger import ledger_row, step_metrics
from sage_bench.training.measuring import hint_gap, validate
from sage_bench.training.recording import Recorder, about
from sage_bench.training.services import ServiceWatch
from sage_bench.training.session import Run, Session, TrainState
from sage_bench.training.sharing import rolled_by_all
from sage_bench.training.sinks import NoSinks, Sinks
from sage_bench.training.stopping import Stop
from sage_bench.training.texts import shown
from sage_bench.types import Problem
from sage_bench.utils.errors import Interrupted, SageBenchError
from sage_bench.utils.files import locked, to_trash
from sage_bench.utils.progress import Bar, first_process
from sage_bench.utils.secrets import masked, masked_text

BEFORE = -1  # the step of what is drawn before the first one
PREPARE_BATCH = 256  # problems whose `prepare` runs together
# events of a step that mean the method does less than its name says; counted in metrics.jsonl
WORTH_A_WORD = {
    "reference_too_long": (
        "{count} references of step {step} do not fit the model's context with their prompts and"
        " are left out (counted as events/reference_too_long)"
    ),
    "one_step_responses": (
        "every response the judge was given in step {step} is one step, so partial credit is all or"
        " nothing: set method.step_pattern to what ends a step"
    ),
}


def train(run: Run) -> Path:
    """Train to the end, from the newest intact checkpoint if there is one. Returns the last one.

    Every draw, order and update is a function of (configuration, step), so a run that was killed
    and started again ends in the same weights, bit for bit on a CPU. Raises `Interrupted` after
    saving when a signal asked it to stop.

    With an engine of several processes each of them calls this; the first holds the folder and
    writes its files.
    """
    ranks = ranks_of(run.engine)
    with locked(run.folder) if ranks.first else contextlib.nullcontext():
        # the lock comes first: another process may be writing what would be moved
        if run.overwrite and ranks.first:
            to_trash(run.folder)
        ranks.gather(None)  # the others read the folder only now
        # again, after `setup.build`: another process may have begun and ended in between
        accepted = run.records.check(run.folder)
        heart = Heartbeat(run.folder, run.steps, run.config.train.stall_minutes, ranks)
        ranks.explain = heart.others
        grader = run.context.grader
        run.context.grader = WatchedGrader(grader, heart)
        with Stop() as stop, heart:
            session = None
            try:
                session = resume(run, heart, stop, accepted)
                work(session)
            except BaseException as error:
                leave(heart, run, error)
                raise
            finally:
                run.context.grader = grader
                run.engine.sampler.close()
                if session is not None:
                    session.sinks.close()
        ranks.close()
        return run.folder / "checkpoints" / checkpoint.name(session.state.step)


def resume(run: Run, heart: Heartbeat, stop: Stop, accepted: list[str]) -> Session:
    """Bring engine, method and log files to the newest intact checkpoint, or to the beginning."""
    heart.beat("reading the last checkpoint", limited=False)
    ranks = heart.ranks
    saved = load_latest(run, ranks)
    state = TrainState(**saved.place) if saved else TrainState()
    # not before a checkpoint was loaded: a run that cannot go on leaves its description alone
    if ranks.first:
        run.records.write(run.folder, state.step, accepted)
    heart.beat("opening the log files", step=state.step, rollouts=state.rollouts)
    sinks: Sinks | NoSinks = NoSinks()
    if ranks.first:
        sinks = Sinks(run.folder, state.step, run.config)
        run.engine.sampler.open(run.folder)
    recorder = recorder_of(run, state.step if saved else BEFORE, ranks)
    tap = recorder.tap if recorder else None
    session = Session(
        run,
        state,
        sinks,
        heart,
        WatchedEngine(run.engine, heart, run.config.train.max_rounds, tap),
        stop,
        run.method.rollout_budget(),
        ServiceWatch(allowed=run.config.train.allow_degraded),
        recorder,
    )
    if saved is None:
        prepare(session)
        # at once: what `prepare` cost is kept, and a kill in step 1 does not repeat it
        save(session)
    # its row is missing where the run was killed after the checkpoint and before the validation
    validated = ranks.of_first(sinks.validated)
    if state.step % run.config.validation.every == 0 and not validated:
        validate(session)
    return session


def recorder_of(run: Run, step: int, ranks: Ranks) -> Recorder | None:
    """What keeps the draws of the run from this step on, where it was asked to."""
    if run.config.log.groups == "none":
        return None
    recorder = Recorder(run.folder / GROUPS, run.config.train.seed, ranks)
    weights = run.engine.weights_digest()
    recorder.begin(step, about(run.config, run.context, run.data.problems, weights))
    return recorder


def load_latest(run: Run, ranks: Ranks) -> RunState | None:
    """Rank 0 finds the newest intact checkpoint, all ranks go on from it."""
    saved = None
    if ranks.first:
        saved = checkpoint.load_latest(run.folder, run.engine, run.method, warn)
    step = ranks.of_first(saved.step if saved else None)
    if not ranks.first and step is not None:
        saved = checkpoint.load_step(run.folder, step, run.engine, run.method)
    return saved


def work(session: Session) -> None:
    """Step until the run is done. Raises `Interrupted` after saving when it was asked to stop."""
    follow(session.run.engine, take_steps(session))
    state = session.state
    if not session.done:
        raise Interrupted(
            session.stop.asked or signal.SIGTERM,  # another rank was asked
            f"interrupted after step {state.step} of {session.run.steps}, which is saved; the same"
            " command goes on from there",
        )
    session.heart.end("done", step=state.step, rollouts=state.rollouts)


def leave(heart: Heartbeat, run: Run, error: BaseException) -> None:
    """The last word of a run that did not come to its end."""
    # the disk may be full: what ended the run matters more than that its status cannot be written
    with contextlib.suppress(SageBenchError):
        if not isinstance(error, KeyboardInterrupt):
            heart.end("failed", error=masked_text(f"{type(error).__name__}: {error}"))
            return
        saved = checkpoint.steps(run.folder)
        kept = f"step {saved[-1]} is saved" if saved else "nothing is saved yet"
        heart.end("interrupted", error=None if heart.status.step in saved else kept)


def warn(text: str) -> None:
    """A word to the user, whether or not progress is shown: it changes what the run is."""
    if not first_process():
        return
    print(f"warning: {text}", file=sys.stderr, flush=True)


def take_steps(session: Session) -> TrainingProgram:
    """Step, validate and save until the run is done or somebody asks it to stop.

    A generator: it yields the rollout batch of each step and is sent what its update came to, so
    that an engine whose library has a training loop can run it from there.
    """
    run, state = session.run, session.state
    config = run.config
    stopping = asked(session)
    with Bar(f"train {config.backend}", run.steps, state.step, quiet=run.quiet) as bar:
        while not session.done and not stopping:
            metrics = yield from one_step(session)
            done = session.done
            note = (
                f"reward {metrics['reward'] or 0:.3f}  no signal {metrics['dead_wrong']:.0%}"
                f"  {metrics['seconds/step']:.1f} s/step"
            )
            if metrics["failed_calls"]:
                note += f"  {metrics['failed_calls']} calls to judge or teacher failed"
            bar.set(state.step, state.step if done else None, note)
            session.heart.beat(
                "ending the step",
                step=state.step,
                reward=metrics["reward"],
                rollouts=state.rollouts,
            )
            if done or state.step % config.validation.every == 0:
                validate(session)
            stopping = asked(session)
            if done or stopping or state.step % config.train.save_every == 0:
                save(session)


def asked(session: Session) -> bool:
    """Whether a signal asked this process, or that of another rank, to stop: all stop together."""
    return session.heart.ranks.any(session.stop.asked is not None)


def prepare(session: Session) -> None:
    """Run the method's `prepare` over the training problems, on the initial policy."""
    run = session.run
    todo: list[tuple[Problem, Any]] = []
    guard = Guard(run.method)
    for problem in run.data.problems:
        with guard.calling("prepare", problem):
            program = run.method.prepare(problem)
        if program is not None:
            todo.append((problem, program))
    if not todo:
        return
    ranks = session.heart.ranks
    recorder = session.recorder
    if recorder is not None:
        recorder.expect(BEFORE, [problem for problem, _ in todo])
    with Bar(f"prepare {run.config.backend}", len(todo), quiet=run.quiet) as bar:
        for start in range(0, len(todo), PREPARE_BATCH):
            if asked(session):
                number = session.stop.asked or signal.SIGTERM
                raise Interrupted(number, "interrupted before step 1: nothing is saved")
            part = todo[start : start + PREPARE_BATCH]
            share = ranks.share(part)
            programs, problems = [g for _, g in share], [p for p, _ in share]
            with session.engine.batch() as engine:
                results, _ = drive(
                    programs,
                    problems,
                    engine,
                    step=BEFORE,
                    guard=guard,
                    max_rounds=run.config.train.max_rounds,
                )
            if recorder is not None:
                recorder.add(problems, [], run.context, step=BEFORE)
            results = ranks.joined(results)
            for (problem, _), result in zip(part, results, strict=True):
                run.method.prepared[problem.uid] = guard.plain("prepare", result, problem)
            bar.advance(len(part))
    if recorder is not None:
        recorder.write(BEFORE, run.engine.weights_digest())


def one_step(session: Session) -> Generator[RolloutBatch, Stats, dict[str, Any]]:
    """Roll out, credit, update, log; moves the state on. Returns the step's metrics."""
    run, state = session.run, session.state
    config, context, step = run.config, run.context, state.step
    began = time.perf_counter()
    context.step, context.steps, context.progress = step, run.steps, step / run.steps
    # both are per step: the ledger takes them below
    context.events.clear()
    context.trail.clear()
    items, kept = roll_step(session)
    # before the update: a run whose judge fails stops with its weights as they were
    notice(session, items)
    if session.recorder is not None:
        session.recorder.write(step, run.engine.weights_digest())
    rolled = time.perf_counter()
    gap = hint_gap(session, kept)
    stats = yield session.engine.update(
        [row for item in kept for row in item.rows], config.objective, run.method
    )
    ended = time.perf_counter()
    trained = {id(item) for item in kept}
    rows = [ledger_row(step, item, context, dropped=id(item) not in trained) for item in items]
    seconds = {"rollout": rolled - began, "update": ended - rolled, "step": ended - began}
    metrics = step_metrics(rows, [item.group for item in items], {**stats, **gap}, seconds)
    session.sinks.step(
        step, metrics, rows, shown(run.method, context, step, items, config.log.completions)
    )
    state.step = step + 1
    state.rollouts += metrics["rollouts"]
    return metrics


def notice(session: Session, items: Sequence[Collected]) -> None:
    """Warn of what makes the run another than its name says, once each."""
    run = session.run
    degraded = session.services.add(items)
    if degraded:
        if session.heart.ranks.first:
            run.records.degrade(run.folder, degraded)
        warn(f"{degraded}: these groups train without it")
    for event, text in WORTH_A_WORD.items():
        count = sum(events[event] for events in run.context.events.values())
        if count and event not in session.warned:
            session.warned.add(event)
            warn(text.format(count=count, step=session.state.step + 1))


def roll_step(session: Session) -> tuple[list[Collected], list[Collected]]:
    """(everything rolled out in this step, what the update sees of it).

    Fresh batches replace groups the method does not keep, `method.refills` times at most.
    """
    run = session.run
    wanted = run.config.train.prompts_per_step
    items = roll_batch(session)
    kept = kept_of(run.method, items, run.context.step)
    for _ in range(run.method.refills):
        if problems_in(kept) >= wanted:
            break
        more = roll_batch(session)
        items += more
        kept += kept_of(run.method, more, run.context.step)
    return items, first_problems(kept, wanted)


def kept_of(method: Method, items: Sequence[Collected], step: int) -> list[Collected]:
    """The groups the method keeps in the batch."""
    guard = Guard(method, step)
    kept = []
    for item in items:
        with guard.calling("keep", item.group.problem):
            if method.keep(item.group):
                kept.append(item)
    return kept


def roll_batch(session: Session) -> list[Collected]:
    """Roll out the next batch of prompts.

    Seeds hang on the batch's number, which is the step unless groups are replaced.
    """
    run, state = session.run, session.state
    config, number = run.config, state.batches
    size = config.train.prompts_per_step
    run.context.epoch = number // steps_per_epoch(len(run.data.problems), size) + 1
    state.batches += 1
    problems = batch_of(run.data.problems, number, size, config.train.seed)
    recorder = session.recorder
    if recorder is not None:
        recorder.expect(number, problems)
    with session.engine.batch() as engine:

        def roll(mine: Sequence[Problem]) -> list[Collected]:
            found = collect(
                run.method, mine, engine, step=number, max_rounds=config.train.max_rounds
            )
            for item in found:
                item.rows = run.engine.sampler.with_old(item.rows)
            if recorder is not None:
                recorder.add(mine, found, run.context, step=state.step)
            if session.heart.ranks.size > 1:
                # a rank that waits is not the one that hangs
                session.heart.beat(f"{WAITING} after its batch", limited=False)
            return found

        return rolled_by_all(session.heart.ranks, run.method, run.context, problems, roll)


def problems_in(items: Sequence[Collected]) -> int:
    """Problems the groups belong to; groups of one problem share their usage."""
    return len({id(item.usage) for item in items})


def first_problems(items: Sequence[Collected], most: int) -> list[Collected]:
    """The groups of the first `most` problems."""
    first = set(list(dict.fromkeys(id(item.usage) for item in items))[:most])
    return [item for item in items if id(item.usage) in first]


def save(session: Session) -> None:
    """Write the checkpoint of the steps done so far."""
    run, state = session.run, session.state
    ranks = session.heart.ranks
    session.heart.beat(f"writing checkpoint {checkpoint.name(state.step)}", limited=False)
    if not ranks.first:
        # sharded weights are brought together by all ranks, and written by the first
        run.engine.save(checkpoint.partial_of(run.folder, state.step))
        ranks.gather(None)
        return
    # rows first: a checkpoint must not be ahead of the log it continues
    session.sinks.sync()
    label = {
        "backend": run.config.backend,
        "seed": run.config.train.seed,
        "preset": preset_of(run.config.model.path),
        **run.records.marks(run.folder),
        "template_options": run.context.renderer.template_options,
        **run.records.base(),
    }
    checkpoint.save(
        run.folder,
        state.step,
        run.engine,
        run.method,
        state={"place": asdict(state), "steps": run.steps},
        label=masked(label),
        keep=run.config.train.keep,
    )
    ranks.gather(None)  # nobody goes on before it is written
