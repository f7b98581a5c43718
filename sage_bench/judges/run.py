"""Run a judge over labelled steps, through the driver that training uses. The store is append-only;
a second run judges what is missing."""

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
from sage_bench.grading import cache
from sage_bench.judges.base import Judge, Judging
from sage_bench.judges.labelled import Labelled, Rows, in_batches
from sage_bench.judges.steps import majority
from sage_bench.methods.base import Context
from sage_bench.methods.driver import Runner, drive
from sage_bench.types import Answer, Request
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import Appender, locked, make_folder, read_jsonl, write_json, write_text
from sage_bench.utils.progress import Bar
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


class NoPolicy(Messages):
    """Renderer and engine of judges that ask no policy: whoever wants tokens or samples of one is
    told to name it."""

    def any(self, flag: bool) -> bool:
        return flag

    def run(self, asks: list[Request]) -> list[Answer]:
        return self.ids() if asks else []

    def ids(self, *_: object) -> Any:
        raise UsageError(
            "this judge asks the policy, and there is none", where="--judge", remedy="give --model"
        )

    chat = text = ids


class PolicyOnly:
    """A local model in the place of the policy: it samples, and learns nothing."""

    def __init__(self, model: str):
        from sage_bench.judges.policy import LocalModel

        self.local = LocalModel(model)

    def any(self, flag: bool) -> bool:
        return flag

    def run(self, asks: list[Request]) -> list[Answer]:
        return self.local.answer(asks) if asks else []  # type: ignore[arg-type]


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
            "options": dict(config.options),
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
        todo = [
            r
            for r in found.rows
            if (d := done.get((r.name, r.digest()))) is None
            or (config.retry and d["judgement"] is None)
        ]
        if todo:
            judge = make()  # first: options it refuses (a key in the open) must not be written down
            context, runner = setting(config, judge)
            write_json(folder / SETTINGS, {**settings, "versions": versions()})
            with (
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


def setting(config: JudgeConfig, judge: Judge) -> tuple[Context, Runner]:
    """The context judges see in training, with a model in it only where one was given."""
    grader = cache.grader()
    if config.model is None:
        nobody = NoPolicy()
        return Context(nobody, grader, folder=config.out), nobody  # type: ignore[arg-type]
    runner = PolicyOnly(config.model)
    room = runner.local.policy.context - getattr(judge, "max_tokens", 1024)
    return Context(runner.local.renderer, grader, max_prompt_tokens=room, folder=config.out), runner


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
        verdict = majority(valid) if valid else None
        out.append(
            {
                "name": row.name,
                "digest": row.digest(),
                "file": row.file,
                "subset": row.subset,
                "question": hashlib.sha256(row.problem.question.encode()).hexdigest()[:12],
                "label": row.label,
                "steps": len(row.steps),
                "judgement": None if not valid else -1 if verdict is None else verdict - 1,
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
    now, before = (
        json.loads(json.dumps(settings)),
        json.loads((folder / SETTINGS).read_text(encoding="utf-8")),
    )
    differ = [k for k in now if before.get(k) != now[k]]
    if differ:
        shown = ", ".join(f"{k}: {before.get(k)} then, {now[k]} now" for k in differ)
        raise UsageError(
            f"the folder holds the work of another judge ({shown})",
            where=str(folder),
            remedy="choose another --out",
        )
