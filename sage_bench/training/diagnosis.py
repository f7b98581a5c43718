"""What methods would do with the same recorded groups, without training: `sage-bench diagnose`.

Every method is asked for its groups and their credit as in a first step of training; its rows go
through the learner's forward and backward at the weights that drew them, and no step is taken. So
the gradients of methods stand side by side: they differ in credit alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sage_bench.config.layers import Resolved
from sage_bench.config.schema import PLAIN, RunConfig
from sage_bench.engines.base import check_needs
from sage_bench.engines.local import load
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.engines.local.learner import is_live
from sage_bench.generation import model_folders as pretrained
from sage_bench.generation.recorded.record import Record
from sage_bench.generation.recorded.rows import Key
from sage_bench.generation.recorded.sampler import (
    Missing,
    NotRecordedError,
    Recorded,
    check_policy,
    policy_digests,
)
from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.weights import policy_digest
from sage_bench.grading.registry import GRADERS
from sage_bench.judges.registry import JUDGES
from sage_bench.methods.base import Method, make_config
from sage_bench.methods.driver import Collected, collect
from sage_bench.methods.registry import BACKENDS
from sage_bench.training import setup
from sage_bench.training.agreement import Agreement, Place, rank_agreement
from sage_bench.types import Row
from sage_bench.utils.errors import DataError
from sage_bench.utils.progress import Bar

QUARTERS = 4


@dataclass(frozen=True)
class DecisiveRow:
    """A completion that decides an update.

    completion: its number in the group, None for a trace that nobody drew. share: of the whole loss
    weight (token weight times |advantage|, summed). pull: how much of the update's gradient g is
    its own, <g_row, g> / <g, g>; over all rows these sum to 1.
    """

    uid: str
    batch: int
    completion: int | None
    reward: float | None
    tokens: int
    advantage: float
    share: float
    pull: float


@dataclass(frozen=True)
class MethodDiagnosis:
    """What one method would do.

    groups: that it could be asked for; beyond: those for which it wants completions that were not
    recorded. dead: groups without a gradient, those it would not keep among them. norm: of the
    gradient of all groups together. mass: token weight times |advantage|, summed over all tokens.
    positive: the share of it that is positive. quarters: its shares by position in the completion,
    first quarter first.
    """

    name: str
    groups: int
    beyond: int
    dead: int
    rows: int
    tokens: int
    norm: float
    mass: float
    positive: float | None
    quarters: tuple[float, ...] | None
    decisive: tuple[DecisiveRow, ...] = ()

    @property
    def dead_share(self) -> float | None:
        return self.dead / self.groups if self.groups else None


@dataclass(frozen=True)
class Diagnosis:
    """All methods on one record.

    cosine: of the gradients, by pair; None where one is zero. agreement: of the token weights of
    methods that weigh tokens, by pair (`rank_agreement`).
    """

    record: str
    digest: str
    draws_of: str
    weights: int
    methods: tuple[MethodDiagnosis, ...]
    cosine: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    agreement: Agreement = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        found = asdict(self)
        for row, method in zip(found["methods"], self.methods, strict=True):
            row["dead_share"] = method.dead_share
        return found


@dataclass
class Credited:
    """The groups of one method, and its gradient over them."""

    name: str
    method: Method
    config: RunConfig
    items: list[tuple[int, Collected]] = field(default_factory=list)
    kept: list[tuple[int, Collected]] = field(default_factory=list)
    beyond: int = 0
    gradient: list[Tensor] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        return [row for _, item in self.kept for row in item.rows]

    def token_weights(self) -> dict[Place, Tensor]:
        """|advantage| (T,) of every completion that is trained on."""
        found: dict[Place, Tensor] = {}
        for batch, item in self.kept:
            for row in filter(is_live, item.rows):
                place = _place(row, item)
                if place is not None:
                    found[batch, item.group.problem.uid, place] = row.advantage.abs().cpu()
        return found


def diagnose(
    record: Record,
    contenders: Mapping[str, Resolved[RunConfig]],
    *,
    missing: Missing = "error",
    other_weights: bool = False,
    limit: int | None = None,
    decisive: int = 5,
    quiet: bool = False,
) -> Diagnosis:
    """Diagnose methods on a record.

    contenders: configuration by name; model, sampling and prompts are alike in all. missing: what
    happens where a method wants completions that were not recorded: the group is left out and
    counted ("error"), or they are drawn ("live"). limit: first groups only. decisive: rows a method
    whose pull is measured. Raises `UsageError` where another policy drew the record.
    """
    JUDGES.names()  # judges bring prompts: their keys are known once all are loaded
    config = next(iter(contenders.values())).config
    engine = make_engine(record, config, missing, other_weights=other_weights)
    keys = record.groups()[:limit]
    if not keys:
        raise DataError(
            "the record has no group of rollouts",
            where=str(record.folder),
            remedy=f"record again with a method that samples, e.g. --backend {PLAIN}",
        )
    found = []
    for name, resolved in contenders.items():
        credited = make_method(name, resolved, engine, record.folder)
        roll(credited, record, keys, engine, quiet)
        take_gradient(credited, engine)
        found.append(credited)
    return Diagnosis(
        record=str(record.folder),
        digest=record.digest,
        draws_of=record.about.backend,
        weights=len(record.weights),
        methods=tuple(measured(one, engine, decisive) for one in found),
        cosine=cosines(found),
        agreement=rank_agreement({one.name: one.token_weights() for one in found}),
    )


def make_engine(
    record: Record, config: RunConfig, missing: Missing, *, other_weights: bool
) -> LocalEngine:
    """The local engine on a record. Its masters lie on the host: no step is taken."""
    path = pretrained.model_path(config.model.path)
    config = setup.fill_in(config, path)
    policy, live = load(config)
    renderer = Hf.of(policy, template_options=_template_options(config)).renderer

    def digest() -> str:
        return policy_digest(policy.model)

    check_policy(record, policy_digests(renderer, digest()), other_weights=other_weights)
    sampler = Recorded(record, live, renderer, weights=digest, missing=missing)
    return LocalEngine(
        policy,
        config.optim.model_copy(update={"offload": True}),
        seed=config.train.seed,
        sampler=sampler,
        micro_tokens=config.engine.micro_tokens,
        temperature=config.sampling.temperature,
        prompt_once=config.engine.prompt_once,
    )


def _template_options(config: RunConfig) -> Mapping[str, Any] | None:
    return pretrained.template_options_of(config.model.path, config.model.template_options)


def make_method(
    name: str, resolved: Resolved[RunConfig], engine: LocalEngine, folder: Path
) -> Credited:
    """A method as a run would build it. folder: where its judge may keep a log."""
    config = setup.fill_in(resolved.config, pretrained.model_path(resolved.config.model.path))
    kind: type[Method] = BACKENDS.get(config.backend)
    renderer = setup.make_renderer(config, config.model.path)
    grader = GRADERS.get(config.grader)()
    context = setup.make_context(config, renderer, grader, folder / "diagnose")
    context.context_tokens, context.steps = engine.sampler.context, 1
    method = kind(context, make_config(kind, config.method))
    check_needs(method, engine, "local")
    return Credited(name, method, config)


def roll(
    credited: Credited, record: Record, keys: Sequence[Key], engine: LocalEngine, quiet: bool
) -> None:
    """Let the method make its groups of what was recorded, one problem at a time: one that wants
    more than that leaves the others alone."""
    method, context = credited.method, credited.method.ctx
    with Bar(f"diagnose {credited.name}", len(keys), quiet=quiet) as bar:
        for key in keys:
            context.step = 0
            problem = record.load(key).problem
            try:
                items = collect(method, [problem], engine, step=key[0])
            except NotRecordedError:
                credited.beyond += 1
                items = []
            for item in items:
                item.rows = engine.sampler.with_old(item.rows)
                credited.items.append((key[0], item))
                if method.keep(item.group):
                    credited.kept.append((key[0], item))
            bar.advance()


def take_gradient(credited: Credited, engine: LocalEngine) -> None:
    """The gradient of one update with all groups, kept on the host."""
    objective, learner = credited.config.objective, engine.learner
    learner.optim.zero_grad()
    if credited.rows:
        learner.gradient(credited.rows, objective, hooks=credited.method)
    credited.gradient = _gradient(engine)
    learner.optim.zero_grad()


def _gradient(engine: LocalEngine) -> list[Tensor]:
    return [
        torch.zeros(0) if p.grad is None else p.grad.detach().to("cpu", torch.float32, copy=True)
        for p in engine.learner.optim.model_parameters
    ]


def inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """The scalar product of two gradients, summed in float64; an empty tensor is zero.

    >>> inner([torch.tensor([1., 2.]), torch.zeros(0)], [torch.tensor([3., 4.]), torch.ones(2)])
    11.0
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x.numel() and y.numel()]
    return float(sum(float((x.double() * y.double()).sum()) for x, y in pairs))


def cosines(found: Sequence[Credited]) -> dict[str, dict[str, float | None]]:
    """Cosine of the gradients of every two methods."""
    norms = {one.name: inner(one.gradient, one.gradient) ** 0.5 for one in found}
    table: dict[str, dict[str, float | None]] = {}
    for a in found:
        table[a.name] = {}
        for b in found:
            scale = norms[a.name] * norms[b.name]
            table[a.name][b.name] = inner(a.gradient, b.gradient) / scale if scale else None
    return table


def measured(credited: Credited, engine: LocalEngine, decisive: int) -> MethodDiagnosis:
    """The numbers of one method."""
    objective = credited.config.objective
    weighted = engine.learner.trained(credited.rows, objective, credited.method)
    live = [(row, weight) for row, weight in weighted if is_live(row)]
    trained = {id(item) for _, item in credited.kept if any(map(is_live, item.rows))}
    masses = [(row.advantage.abs().double() * weight).sum().item() for row, weight in live]
    total = sum(masses)
    positive = sum((r.advantage.clamp(min=0).double() * w).sum().item() for r, w in live)
    return MethodDiagnosis(
        name=credited.name,
        groups=len(credited.items),
        beyond=credited.beyond,
        dead=sum(id(item) not in trained for _, item in credited.items),
        rows=len(live),
        tokens=sum(len(row.tokens) for row, _ in live),
        norm=inner(credited.gradient, credited.gradient) ** 0.5,
        mass=total,
        positive=positive / total if total else None,
        quarters=quarters(live),
        decisive=decisive_rows(credited, engine, live, masses, decisive),
    )


def quarters(live: Sequence[tuple[Row, float]]) -> tuple[float, ...] | None:
    """Share of the advantage mass by quarter of the completion; None where there is none.

    >>> row = Row((1,), (2, 3, 4, 5), torch.tensor([0.0, 1.0, 0.0, -3.0]), "a")
    >>> quarters([(row, 0.5)])
    (0.0, 0.25, 0.0, 0.75)
    """
    sums = torch.zeros(QUARTERS, dtype=torch.float64)
    for row, weight in live:
        count = len(row.tokens)
        mass = torch.cat([torch.zeros(1).double(), row.advantage.abs().double().cpu().cumsum(0)])
        # a token that lies across an edge counts for both sides by its parts
        edges = torch.arange(QUARTERS + 1).double() * count / QUARTERS
        low = edges.long().clamp(max=count - 1)
        at = mass[low] + (edges - low) * (mass[low + 1] - mass[low])
        sums += at.diff() * weight
    total = float(sums.sum())
    return tuple((sums / total).tolist()) if total else None


def decisive_rows(
    credited: Credited,
    engine: LocalEngine,
    live: Sequence[tuple[Row, float]],
    masses: Sequence[float],
    count: int,
) -> tuple[DecisiveRow, ...]:
    """The rows with the largest shares, and their pull, by one backward each."""
    total, square = sum(masses), inner(credited.gradient, credited.gradient)
    if not total or not square:
        return ()
    owners = {id(row): (batch, item) for batch, item in credited.kept for row in item.rows}
    largest = sorted(range(len(live)), key=lambda i: -masses[i])[:count]
    found = []
    for i in largest:
        row, weight = live[i]
        batch, item = owners[id(row)]
        place = _place(row, item)
        found.append(
            DecisiveRow(
                uid=item.group.problem.uid,
                batch=batch,
                completion=place,
                reward=None if place is None else float(item.group.rewards[place]),
                tokens=len(row.tokens),
                advantage=float(row.advantage.mean()),
                share=masses[i] / total,
                pull=inner(_row_gradient(credited, engine, row, weight), credited.gradient)
                / square,
            )
        )
    return tuple(found)


def _place(row: Row, item: Collected) -> int | None:
    """Number of a row's completion in its group; None for a trace, which nobody drew."""
    tokens = [completion.tokens for completion in item.group.completions]
    found = tokens.index(row.tokens) if row.tokens in tokens else None
    return found if found is not None and found < len(item.group.rewards) else None


def _row_gradient(credited: Credited, engine: LocalEngine, row: Row, weight: float) -> list[Tensor]:
    """The part of a row in the gradient of all. Alone, its tokens weigh more: that is undone."""
    # the entropy is taken over all rows, so it is no part of one
    objective = credited.config.objective.model_copy(update={"entropy_coef": 0.0})
    learner = engine.learner
    ((_, alone),) = learner.trained([row], objective, credited.method)
    learner.optim.zero_grad()
    learner.gradient([row], objective, hooks=credited.method)
    scale = weight / alone if alone else 0.0
    gradient = [g * scale for g in _gradient(engine)]
    learner.optim.zero_grad()
    return gradient
