"""Run a judge over labelled steps, through the driver that training uses.

The store is append-only; a second run judges what is missing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sage_bench.generation.prompts import Messages
from sage_bench.generation.samplers.base import Sampler
from sage_bench.generation.samplers.hf import Hf
from sage_bench.grading import cache
from sage_bench.judges.base import Judge, Judging, Votes
from sage_bench.judges.labelled import Labelled, Rows, in_batches
from sage_bench.judges.steps import majority
from sage_bench.methods.base import Context
from sage_bench.methods.driver import Runner, drive
from sage_bench.types import Answer, Request, Sample
from sage_bench.utils.errors import SageBenchError, UsageError
from sage_bench.utils.files import Appender, locked, make_folder, read_jsonl, write_json, write_text
from sage_bench.utils.progress import Bar
from sage_bench.utils.secrets import masked
from sage_bench.utils.versions import versions

SETTINGS, STORE = "judge.json", "judgements.jsonl"


@dataclass(frozen=True)
class JudgeConfig:
    """What is judged by whom. model: of judges that ask the policy. retry: ask again about rows
    that were abstained from."""

    judge: str
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    votes: int = 1
    model: str | None = None
    batch: int = 64
    retry: bool = False


class SamplerEngine:
    """A sampler in the place of an engine, to judge with: it samples, and learns nothing."""

    capabilities = frozenset({"sample"})

    def __init__(self, sampler: Sampler):
        self.sampler = sampler

    def any(self, flag: bool) -> bool:
        return flag

    def run(self, asks: list[Request]) -> list[Answer]:
        """All requests are `Sample`s: `check_needs` has seen to that."""
        return list(self.sampler.answer([ask for ask in asks if isinstance(ask, Sample)]))


class ServicesOnly:
    """The engine of judges that need none: what they consult is a service."""

    capabilities: frozenset[str] = frozenset()

    def any(self, flag: bool) -> bool:
        return flag

    def run(self, asks: list[Request]) -> list[Answer]:
        if asks:
            raise SageBenchError(
                f"the judge sent a {type(asks[0]).__name__} to the policy, and there is none",
                where="--judge",
                remedy="a judge that asks the policy says so: `needs = frozenset({'sample'})`",
            )
        return []


def judge_rows(
    config: JudgeConfig, make: Callable[[], Judge], found: Rows, *, quiet: bool = False
) -> list[dict[str, Any]]:
    """Judge what is not judged yet and return one judgement a row, in the order of the rows. make:
    builds the judge, called only when something is left to judge. Raises `UsageError` when the
    folder holds the work of another judge.

    A judgement: {"name", "digest", "file", "subset", "question" (hash), "label", "steps",
    "judgement" (0-based; -1 = no error; null = abstained), "votes" (1-based, null = no error),
    "events", "seconds" (share of its batch), "judge_calls", "time"}.
    """
    folder = make_folder(config.out)
    with locked(folder):
        done = stored(folder)
        settings = {
            "judge": config.judge,
            "options": masked(dict(config.options)),
            "votes": config.votes,
            "model": config.model,
        }
        if done and (folder / SETTINGS).exists():
            check_settings(settings, folder)
        write_text(
            folder / "quarantine.jsonl",
            "".join(
                json.dumps(q.as_dict(), ensure_ascii=False, default=str) + "\n"
                for q in found.quarantine
            ),
        )
        todo = [r for r in found.rows if is_open(done.get((r.name, r.digest())), config.retry)]
        if todo:
            judge = make()  # first: options it refuses (a key in the open) must not be written down
            context, runner = setting(config, judge)
            write_json(folder / SETTINGS, {**settings, "versions": versions()})
            with (
                closing(judge),
                Bar(
                    f"judge-eval {config.judge}",
                    len(found.rows),
                    len(found.rows) - len(todo),
                    quiet=quiet,
                ) as bar,
                closing(Appender(folder / STORE)) as store,
            ):
                for batch in in_batches(todo, config.batch):
                    new = judge_batch(judge, context, runner, batch, config.votes)
                    store.write(*new)
                    store.sync()
                    done |= {(r["name"], r["digest"]): r for r in new}
                    bar.advance(len(batch))
    return [done[r.name, r.digest()] for r in found.rows]


def is_open(judgement: Mapping[str, Any] | None, retry: bool) -> bool:
    """Whether a row is still to be judged."""
    return judgement is None or (retry and judgement["judgement"] is None)


def setting(config: JudgeConfig, judge: Judge) -> tuple[Context, Runner]:
    """The context judges see in training, with a model in it only where one was given. Raises
    `UsageError` when the judge asks the policy and there is none."""
    grader = cache.grader()
    if config.model is None:
        check_needs(judge, ServicesOnly.capabilities)
        # whoever needs no policy renders chats as messages, and asks for no token ids
        messages: Any = Messages()
        return Context(messages, grader, folder=config.out), ServicesOnly()
    check_needs(judge, SamplerEngine.capabilities)
    sampler = Hf(config.model)
    room = sampler.policy.context - judge.max_tokens
    context = Context(sampler.renderer, grader, max_prompt_tokens=room, folder=config.out)
    return context, SamplerEngine(sampler)


def check_needs(judge: Judge, capabilities: frozenset[str]) -> None:
    """Raise `UsageError` when the judge asks for what is not there."""
    missing = judge.needs - capabilities
    if not missing:
        return
    if "sample" in missing:
        raise UsageError(
            "this judge asks the policy, and there is none", where="--judge", remedy="give --model"
        )
    raise UsageError(
        f"this judge needs {sorted(missing)}, which only an engine in training offers",
        where="--judge",
        remedy="choose another judge (`sage-bench ls judges`)",
    )


def judge_batch(
    judge: Judge, context: Context, runner: Runner, rows: Sequence[Labelled], votes: int
) -> list[dict[str, Any]]:
    """One judgement a row; a row without a valid vote is abstained from."""
    began = time.perf_counter()
    context.events.clear()
    results, usage = drive(
        [one_response(judge, context, r, votes) for r in rows], [r.problem for r in rows], runner
    )
    seconds = (time.perf_counter() - began) / len(rows)
    out = []
    for row, (valid,), used in zip(rows, results, usage, strict=True):
        out.append(
            {
                "name": row.name,
                "digest": row.digest(),
                "file": row.file,
                "subset": row.subset,
                "question": hashlib.sha256(row.problem.question.encode()).hexdigest()[:12],
                "label": row.label,
                "steps": len(row.steps),
                "judgement": judgement_of(valid),
                "votes": list(valid),
                "solution": row.problem.solution is not None,
                "answer": bool(row.problem.answer),
                "events": dict(context.events.get(row.problem.uid, {})),
                "seconds": round(seconds, 6),
                "judge_calls": used.judge_calls,
                "time": round(time.time(), 3),
            }
        )
    return out


def judgement_of(votes: Votes) -> int | None:
    """What is stored: the first wrong step (0-based), -1 for no error, None for no valid vote.

    >>> judgement_of([2, 2]), judgement_of([None]), judgement_of([])
    (1, -1, None)
    """
    if not votes:
        return None
    first = majority(votes)
    return -1 if first is None else first - 1


def one_response(judge: Judge, context: Context, row: Labelled, votes: int) -> Judging:
    return (yield from judge.judge(context, row.problem, [row.steps], votes))


def stored(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Judgements by (name, digest). A later row of the same key counts where the first one
    abstained, and nowhere else."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in read_jsonl(folder / STORE):
        key = (row["name"], row["digest"])
        if key not in rows or rows[key]["judgement"] is None:
            rows[key] = row
    return rows


def check_settings(settings: Mapping[str, Any], folder: Path) -> None:
    """A folder holds one judge. Raises `UsageError` naming what differs."""
    now = json.loads(json.dumps(settings))
    before = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    differ = [k for k in now if before.get(k) != now[k]]
    if differ:
        shown = ", ".join(f"{k}: {before.get(k)} then, {now[k]} now" for k in differ)
        raise UsageError(
            f"the folder holds the work of another judge ({shown})",
            where=str(folder),
            remedy="choose another --out",
        )
