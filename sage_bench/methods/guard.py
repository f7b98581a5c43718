"""What a method may get wrong, said in one paragraph: which method, its file and line, which
problem, which step, what was found and what was expected."""

from __future__ import annotations

import math
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import GeneratorType
from typing import Any

from torch import Tensor

from sage_bench.methods.registry import BACKENDS
from sage_bench.types import (
    Answer,
    Completion,
    Group,
    Kind,
    PolicyAccess,
    Problem,
    Request,
    Row,
    Sample,
)
from sage_bench.utils.errors import SageBenchError, TrainingError, UsageError
from sage_bench.utils.registry import place_of

MOST_ROUNDS = 200  # of requests for one problem, unless the caller says otherwise


class MethodError(TrainingError):
    """A method does not keep the contract (exit code 2).

    what: what was found; remedy: what was expected.
    """

    exit_code = UsageError.exit_code


class MethodCrashError(TrainingError):
    """A method raised an exception of its own; the cause is chained."""


class Guard:
    """Looks at what one method says and returns.

    method: a `Method`, its class, or anything whose class has a source file (hooks, a judge); None
    where only generators are at hand. step: of the run, for messages.
    """

    def __init__(self, method: Any = None, step: int | None = None):
        self.kind = method if isinstance(method, type) or method is None else type(method)
        self.step = step

    # ---- errors
    @property
    def name(self) -> str:
        for name, kind in BACKENDS.items():
            if kind is self.kind:
                return f"backend `{name}`"
        return f"`{self.kind.__name__}`" if self.kind is not None else "the program"

    @property
    def file(self) -> str:
        """The source file of the method's class."""
        return "" if self.kind is None else place_of(self.kind).rpartition(":")[0]

    def place(self, function: str) -> str:
        """`file:line` of a function of the method; of its class where it has no such function."""
        if self.kind is None:
            return "a generator"
        return place_of(getattr(self.kind, function, self.kind))

    def fault(
        self,
        function: str,
        found: str,
        expected: str,
        problem: Problem | None = None,
        place: str | None = None,
    ) -> MethodError:
        """The error for something that breaks the contract."""
        return MethodError(
            f"{self.name}, `{function}`{self.situation(problem)}: {found}",
            where=place or self.place(function),
            remedy=expected,
        )

    def situation(self, problem: Problem | None) -> str:
        parts = [f"problem `{problem.uid}`"] if problem is not None else []
        parts += [f"step {self.step}"] if self.step is not None else []
        return f" ({', '.join(parts)})" if parts else ""

    def crash(
        self, function: str, error: Exception, problem: Problem | None = None
    ) -> MethodCrashError:
        """The error that wraps an exception of the method. Raise it `from` the exception."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == self.file]
        last = own[-1] if own else frames[-1]
        deeper = frames[frames.index(last) + 1 :]
        way = " -> ".join(f"{f.filename}:{f.lineno} {f.name}" for f in deeper[-3:])
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return MethodCrashError(
            f"{self.name}, `{function}`{self.situation(problem)} raised {text}"
            + (f" ({way})" if way else ""),
            where=f"{last.filename}:{last.lineno}",
            remedy=f"the line reads `{last.line}`" if last.line else None,
        )

    @contextmanager
    def calling(self, function: str, problem: Problem | None = None) -> Iterator[None]:
        """Whatever the method raises inside becomes a `MethodCrashError`; ours stay as they are."""
        try:
            yield
        except SageBenchError:
            raise
        except Exception as error:
            raise self.crash(function, error, problem) from error

    def line_of(self, program: Generator[Any, Any, Any]) -> str:
        """`file:line` at which a suspended generator waits: of those it yields from, the innermost
        in the method's own file."""
        frames = []
        inner: Any = program
        while isinstance(inner, GeneratorType) and inner.gi_frame is not None:
            frames.append(inner.gi_frame)
            inner = inner.gi_yieldfrom
        if not frames:
            return self.place("roll")
        own = [frame for frame in frames if frame.f_code.co_filename == self.file]
        frame = (own or frames)[-1]
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"

    # ---- what a generator yields
    def program(self, returned: Any, problem: Problem) -> Generator[Any, Any, Any]:
        """What calling `roll` gave, if it is a generator."""
        if not isinstance(returned, Generator):
            raise self.fault(
                "roll",
                f"it is not a generator: calling it gives {described(returned)}",
                "ask with `yield`; a method that asks for nothing has a `yield` it never reaches",
                problem,
            )
        return returned

    def requests(
        self, program: Generator[Any, Any, Any], yielded: Any, problem: Problem
    ) -> list[Request]:
        """What was yielded, if it is a list of requests."""

        def fault(found: str, expected: str) -> MethodError:
            return self.fault("roll", found, expected, problem, self.line_of(program))

        if isinstance(yielded, Request):
            raise fault(
                f"it yields a bare {type(yielded).__name__}",
                "yield a list, `(answer,) = yield [request]`, and get a list of answers back",
            )
        if not isinstance(yielded, (list, tuple)):
            raise fault(f"it yields {described(yielded)}", "yield a list of requests")
        for ask in yielded:
            if not isinstance(ask, Request):
                raise fault(
                    f"it asks for {described(ask)}, which is not a request",
                    "ask with Sample, Score, Consult, or what derives from"
                    " `sage_bench.types.Request`",
                )
            if isinstance(ask, Sample) and (not isinstance(ask.n, int) or ask.n < 1):
                raise fault(f"it asks for n={ask.n} completions", "ask for at least one, n >= 1")
        return list(yielded)

    def too_many_rounds(
        self, program: Generator[Any, Any, Any], problem: Problem, most: int
    ) -> MethodError:
        return self.fault(
            "roll",
            f"a problem is not done after {most} rounds of requests",
            "end the generator with `return group`, or raise train.max_rounds",
            problem,
            self.line_of(program),
        )

    # ---- what it returns
    def groups(self, returned: Any, problem: Problem) -> list[Group]:
        """What `roll` returned as a list of groups, each of them looked at."""
        groups = returned if isinstance(returned, list) else [returned]
        if not groups:
            raise self.fault(
                "roll", "it returns an empty list", "return a Group, or several", problem
            )
        for group in groups:
            if not isinstance(group, Group):
                raise self.fault(
                    "roll",
                    f"it returns {described(group)}",
                    "end with `return group`: a Group of this problem, or a list of them",
                    problem,
                )
            self.group(group, problem)
        return groups

    def group(self, group: Group, problem: Problem) -> None:
        def fault(found: str, expected: str) -> MethodError:
            return self.fault("roll", found, expected, problem)

        if not isinstance(group.problem, Problem):
            raise fault(f"its group is one of {described(group.problem)}", "keep its `problem`")
        if group.problem.uid != problem.uid:
            raise fault(
                f"it returns a group of problem `{group.problem.uid}`",
                "return the group of the problem that `roll` was given",
            )
        completions = group.completions if isinstance(group.completions, (list, tuple)) else [None]
        for completion in completions:
            if not isinstance(completion, Completion):
                raise fault(
                    f"its group has {described(completion)} among the completions",
                    "completions are what a Sample is answered with",
                )
        count = len(group.completions)
        for what, values in (("rewards", group.rewards), ("scores", group.scores)):
            if values is None and what == "scores":
                continue
            if not isinstance(values, Tensor) or values.shape != (count,):
                raise fault(
                    f"`{what}` of its group are {described(values)} for {count} completions",
                    f"`{what}` is a tensor of shape ({count},), one number a completion",
                )
            if not bool(values.isfinite().all()):
                raise fault(f"`{what}` of its group are not all finite", "give finite numbers")
        prompts = group.prompts
        if prompts is None:
            return
        is_list = isinstance(prompts, (list, tuple))
        if not is_list or len(prompts) != count or not all(map(_are_ids, prompts)):
            found = len(prompts) if is_list else described(prompts)
            raise fault(
                f"`prompts` of its group are {found} for {count} completions",
                "give one prompt a completion, tuples of token ids, or None",
            )

    def rows(self, returned: Any, group: Group) -> list[Row]:
        """What `credit` returned, if it is a list of whole rows."""
        if not isinstance(returned, (list, tuple)):
            raise self.fault(
                "credit",
                f"it returns {described(returned)}",
                "return a list of rows; an empty one when there is nothing to learn",
                group.problem,
            )
        for number, row in enumerate(returned):
            if not isinstance(row, Row):
                raise self.fault(
                    "credit",
                    f"it returns {described(row)} among the rows",
                    "return `Row`s",
                    group.problem,
                )
            self.row(row, number, group)
        return list(returned)

    def row(self, row: Row, number: int, group: Group) -> None:
        def fault(found: str, expected: str) -> MethodError:
            return self.fault("credit", f"row {number} {found}", expected, group.problem)

        if not _are_ids(row.prompt) or not _are_ids(row.tokens):
            raise fault("has no tuples of token ids", "`prompt` and `tokens` are tuples of ints")
        count = len(row.tokens)
        if not isinstance(row.group, str) or not row.group:
            raise fault(f"has {described(row.group)} as its group", "name it, e.g. by the uid")
        if not isinstance(row.kind, Kind):
            raise fault(f"has {described(row.kind)} as its kind", "a `Kind`: PG, OFF or CE")
        tensors = {
            "advantage": row.advantage,
            "old_logp": row.old_logp,
            "sampler_logp": row.sampler_logp,
        }
        for what, values in tensors.items():
            if values is None and what != "advantage":
                continue
            if not isinstance(values, Tensor):
                raise fault(f"has {described(values)} as its {what}", f"a tensor of ({count},)")
            if values.shape != (count,):
                raise fault(
                    f"has {count} tokens and a `{what}` of shape {tuple(values.shape)}",
                    f"one number a token, ({count},): a scalar is spread by `.expand({count})`",
                )
            if not values.is_floating_point():
                raise fault(f"has a `{what}` of type {values.dtype}", "floating-point numbers")
            if not bool(values.isfinite().all()):
                raise fault(f"has a `{what}` that is not finite", "finite numbers: check a 0 / 0")

    def names(self, rows: Sequence[Row], group: Group, owners: dict[str, str]) -> None:
        """Whether the rows' groups are this problem's. owners: uid by name of the groups seen so
        far and by uid of the batch's problems; what is new is added."""
        uid = group.problem.uid
        for name in dict.fromkeys(row.group for row in rows):
            owner = owners.setdefault(name, uid)
            if owner != uid:
                raise self.fault(
                    "credit",
                    f"its rows belong to group `{name}`, which is one of problem `{owner}`",
                    "return the rows of the group that is given, under a name with its uid in it",
                    group.problem,
                )

    # ---- what its hooks of the update return
    def weights(self, factors: Any, rows: Sequence[Row]) -> None:
        """Whether `row_weights` gave one finite number a row."""
        count = len(factors) if isinstance(factors, (Sequence, Tensor)) else None
        if count != len(rows):
            found = f"{count} weights" if count is not None else described(factors)
            raise self.fault(
                "row_weights",
                f"it gave {found} for {len(rows)} rows",
                "return one weight a row, in order, or None",
            )
        if not all(math.isfinite(float(factor)) for factor in factors):
            raise self.fault("row_weights", "not all weights are finite", "give finite weights")

    def loss(self, returned: Any, logp: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What `token_loss` returned, if it is a loss a token and a dict."""
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise self.fault(
                "token_loss",
                f"it returns {described(returned)}",
                "return (loss of each token, sums for the log)",
            )
        loss, stats = returned
        if not isinstance(loss, Tensor) or loss.shape != logp.shape:
            raise self.fault(
                "token_loss",
                f"its loss is {described(loss)} for {len(logp)} tokens",
                f"one number a token, ({len(logp)},)",
            )
        if not isinstance(stats, dict):
            raise self.fault(
                "token_loss", f"its sums are {described(stats)}", "a dict, empty if there are none"
            )
        return loss, stats

    def metrics(self, returned: Any) -> Mapping[str, Sequence[float]]:
        """What `row_metrics` returned, if it is lists of numbers by name."""
        if isinstance(returned, Mapping):
            wrong = [k for k, values in returned.items() if not isinstance(values, (list, tuple))]
            if not wrong:
                return returned
            returned = returned[wrong[0]]
        raise self.fault(
            "row_metrics",
            f"it returns {described(returned)}",
            'return lists of numbers by name, e.g. {"mine": [0.5]}',
        )

    # ---- what is kept
    def plain(self, function: str, value: Any, problem: Problem | None = None) -> Any:
        """A value, if JSON gives it back as it is (tuples may come back as lists)."""
        found = not_plain(value, "")
        if found:
            raise self.fault(
                function,
                f"{found[0] or 'it'} holds {found[1]}, which JSON does not keep",
                "dicts with text keys, lists, text, finite numbers and None: `.tolist()`, str(key)",
                problem,
            )
        return value


def answered(kind: type[Request], access: PolicyAccess, asks: Sequence[Request]) -> list[Answer]:
    """The answers to some requests of a method's own type, by its `answer`. Raises `MethodError`
    where they are not one a request, `MethodCrashError` for an exception of its own."""
    guard = Guard(kind)
    with guard.calling("answer"):
        try:
            found = kind.answer(access, asks)
        except NotImplementedError as error:
            if "answer" in vars(kind):
                raise
            raise guard.fault(
                "answer", "no engine knows how to answer it", "give it a classmethod `answer`"
            ) from error
    if not isinstance(found, (list, tuple)) or len(found) != len(asks):
        raise guard.fault(
            "answer",
            f"it gave {described(found)} for {len(asks)} requests",
            "return a list with one answer a request, in order",
        )
    return list(found)


def _are_ids(value: Any) -> bool:
    return isinstance(value, tuple) and set(map(type, value)) <= {int}


def described(value: Any) -> str:
    """A value in an error.

    >>> described(None), described([1, 2]), described("x" * 100)[:14]
    ('None', 'a list ([1, 2])', "a str ('xxxxxx")
    """
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    text = repr(value)
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    return f"a {type(value).__name__} ({shown})"


def not_plain(value: Any, place: str) -> tuple[str, str] | None:
    """(where, what) of the first thing that JSON does not keep.

    >>> not_plain({"a": [1, None, "x"], "b": (2.5, True)}, "")
    >>> not_plain({"a": {3: "x"}}, ""), not_plain({"a": [float("nan")]}, "")
    (('a', 'the key 3'), ('a.0', 'the number nan'))
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                return place, f"the key {key!r}"
            found = not_plain(inner, f"{place}.{key}".lstrip("."))
            if found:
                return found
        return None if isinstance(value, dict) else (place, described(value))
    if isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            found = not_plain(inner, f"{place}.{i}".lstrip("."))
            if found:
                return found
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return place, f"the number {value}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return None
    return place, described(value)
