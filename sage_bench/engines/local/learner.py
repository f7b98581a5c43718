"""The learner: rows in, gradient out. It knows no method, only the hooks a method may bring."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.budget import TokenBudget
from sage_bench.engines.local.optim import MasterAdamW, learning_rate
from sage_bench.generation.local.forward import log_probs
from sage_bench.generation.local.policy import Policy
from sage_bench.methods.guard import Guard
from sage_bench.methods.hooks import RowTokens, UpdateHooks
from sage_bench.methods.importance import corrected
from sage_bench.methods.losses import row_weights
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind, Row
from sage_bench.utils.errors import TrainingError
from sage_bench.utils.seeds import derive_seed

Result = TypeVar("Result")
Weighted = tuple[Row, float]  # a row and the weight of each of its tokens in the loss
PLAIN = UpdateHooks()
MOST_SKIPPED = 3  # optimiser steps in a row that may be left out before the run stops


class NotFiniteError(TrainingError):
    """A number of an optimiser step is infinite or not a number; the weights are untouched."""

    def __init__(self, what: str, step: int, rows: Sequence[Row] = ()):
        groups = sorted({row.group for row in rows})
        of = f" (groups {', '.join(groups[:3])})" if groups else ""
        super().__init__(
            f"{what} at optimiser step {step}{of}",
            remedy=(
                "lower optim.lr (train.accept_change=[optim.lr] goes on in this folder), check the"
                " data of these groups, or leave such steps out with optim.on_nonfinite=skip; the"
                " last checkpoint is kept"
            ),
        )


@dataclass
class Tally:
    """Sums over an update, for the log. totals: by name. measured: (sum, count) of what the
    method's `row_metrics` reported."""

    totals: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    measured: dict[str, tuple[float, int]] = field(default_factory=dict)

    def measure(self, name: str, value: float) -> None:
        total, count = self.measured.get(name, (0.0, 0))
        self.measured[name] = (total + value, count + 1)

    def add(self, other: Tally) -> None:
        """Take over the sums of another tally."""
        for name, value in other.totals.items():
            self.totals[name] += value
        for name, (total, count) in other.measured.items():
            before, seen = self.measured.get(name, (0.0, 0))
            self.measured[name] = (before + total, seen + count)

    def means(self) -> dict[str, float]:
        """Means over the tokens or groups they were summed over; none over nothing."""
        over = {
            "entropy": "trained_tokens",
            "logp_gap": "gap_tokens",
            "ratio": "pg_tokens",
            "kl_old": "pg_tokens",
            "clip_fraction": "pg_tokens",
            "off_probability": "off_tokens",
            "importance_weight": "importance_tokens",
            "importance_capped": "importance_tokens",
        }
        found = {k: self.totals[k] / self.totals[n] for k, n in over.items() if self.totals[n]}
        return found | {name: total / n for name, (total, n) in self.measured.items()}


def is_live(row: Row) -> bool:
    """A row whose advantages are all zero has zero gradient, whatever its kind."""
    return len(row.tokens) > 0 and bool((row.advantage != 0).any())


def by_group(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one group together, groups in the order they came."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    return list(groups.values())


def split_updates(rows: Sequence[Row], updates: int) -> list[list[Row]]:
    """Cut a rollout batch into that many optimiser steps, whole groups each, as equal in number as
    they come."""
    groups = by_group(rows)
    bounds = [round(i * len(groups) / updates) for i in range(updates + 1)]
    parts = [[row for group in groups[a:b] for row in group] for a, b in pairwise(bounds)]
    return [part for part in parts if part]


def micro_batches(rows: Sequence[Weighted], budget: int) -> Iterator[list[Weighted]]:
    """Pack rows so that padded tokens (prompts once, completions) stay within the budget; at least
    one row each.

    Rows of one group stay side by side, so that they share their prompt; groups are ordered by
    their longest completion, so that little is padded.
    """
    groups: dict[str, list[Weighted]] = defaultdict(list)
    for row in rows:
        groups[row[0].group].append(row)
    ordered = sorted(groups.values(), key=lambda g: max(len(r.tokens) for r, _ in g))
    batch: list[Weighted] = []
    for row in (row for group in ordered for row in group):
        if batch and _padded([r for r, _ in (*batch, row)]) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _padded(rows: Sequence[Row]) -> int:
    prompts = {r.prompt for r in rows}
    return len(prompts) * max(map(len, prompts)) + len(rows) * max(len(r.tokens) for r in rows)


class Learner:
    """Applies rows to a policy.

    updates: optimiser steps a rollout batch is cut into. micro_tokens: padded tokens of one
    forward; it changes memory and speed, never the gradient. total: optimiser steps of the whole
    run, for the schedule. temperature: that of the rollouts; log-probabilities are taken at it.
    dropout_seed: where adapters have dropout; what is dropped is a function of it and the step.
    """

    def __init__(
        self,
        policy: Policy,
        optim: OptimConfig,
        *,
        updates: int = 1,
        total: int = 1,
        micro_tokens: int = 1 << 14,
        temperature: float = 1.0,
        prompt_once: bool = True,
        skip_dead: bool = True,
        gradient_checkpointing: bool = False,
        dropout_seed: int | None = None,
    ):
        self.policy = policy
        names = {parameter: name for name, parameter in policy.model.named_parameters()}
        self.optim = MasterAdamW(policy.model.parameters(), optim, names)
        self.updates = updates
        self.total = total
        self.budget = TokenBudget(micro_tokens)
        self.temperature = temperature
        self.prompt_once = prompt_once
        self.skip_dead = skip_dead
        self.gradient_checkpointing = gradient_checkpointing
        self.dropout_seed = dropout_seed
        self.step = 0  # optimiser steps taken or left out
        self.skipped_in_a_row = 0
        self.last_lr = 0.0
        self.entropy_weight = 0.0

    @property
    def micro_tokens(self) -> int:
        """Padded tokens of one forward, as they are now."""
        return self.budget.tokens

    def update(
        self, rows: Sequence[Row], objective: Objective, hooks: UpdateHooks = PLAIN
    ) -> dict[str, float]:
        """Apply one rollout batch. Returns means for the log (`entropy`, `clip_fraction`,
        `grad_norm`, ...).

        Raises `TrainingError` naming step and tensor when a number is not finite, before the
        weights are touched; with `optim.on_nonfinite=skip` when three steps in a row were.
        """
        if not rows:
            return {}
        batches = split_updates(rows, self.updates)
        # the ratio of later batches is to the weights as they are now
        batches[1:] = [self._fitting(self._with_old, batch) for batch in batches[1:]]
        tally = Tally()
        for batch in batches:
            self._one_step(batch, objective, tally, hooks)
        return self.logged(tally, len(batches))

    def logged(self, tally: Tally, steps: int) -> dict[str, float]:
        """The log's numbers of an update of so many optimiser steps."""
        sums = ("loss", "trained_rows", "trained_tokens", "skipped_rows", "skipped_steps")
        out = {name: tally.totals[name] for name in sums}
        out |= {"grad_norm": tally.totals["grad_norm"] / steps, "lr": self.last_lr}
        halvings = self.budget.new_halvings()
        if halvings:
            out |= {"out_of_memory": halvings, "micro_tokens": self.budget.tokens}
        return out | tally.means()

    def gradient(
        self,
        rows: Sequence[Row],
        objective: Objective,
        tally: Tally | None = None,
        hooks: UpdateHooks = PLAIN,
    ) -> float:
        """Add the gradient of one optimiser step's rows to the parameters' `.grad`. Returns the
        loss."""
        tally = tally or Tally()
        live = self.trained(rows, objective, hooks)
        loss_sum = 0.0
        # transformers checkpoints in train mode only
        self.policy.model.train(self.gradient_checkpointing or self.dropout_seed is not None)
        with self.dropout():
            for micro in micro_batches(live, self.budget.tokens):
                loss = self._loss(micro, objective, tally, hooks)
                if not torch.isfinite(loss):
                    rows = [r for r, _ in micro]
                    raise NotFiniteError(f"the loss is {loss.item()}", self.step, rows)
                torch.autograd.backward(loss)
                loss_sum += loss.item()
        self.policy.model.eval()
        tally.totals["trained_rows"] += len(live)
        tally.totals["trained_tokens"] += sum(len(r.tokens) for r, _ in live)
        tally.totals["skipped_rows"] += len(rows) - len(live)
        return loss_sum

    @contextlib.contextmanager
    def dropout(self) -> Iterator[None]:
        """Random numbers of their own for the dropout of a step, so that a resumed run repeats."""
        if self.dropout_seed is None:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(self.dropout_seed, "dropout", self.step))
            yield

    def trained(
        self, rows: Sequence[Row], objective: Objective, hooks: UpdateHooks
    ) -> list[Weighted]:
        """The rows of an optimiser step that have a gradient, with their weights, which hang on
        the lengths of all of them."""
        lengths = [len(r.tokens) for r in rows]
        weights = row_weights(
            lengths, objective.aggregation, objective.recipe_micro_batch, objective.constant_length
        ).tolist()
        every = not self.skip_dead or objective.entropy_coef > 0  # dead rows have entropy too
        live = [
            (r, w)
            for r, w in zip(rows, weights, strict=True)
            if len(r.tokens) and (every or is_live(r))
        ]
        self.entropy_weight = objective.entropy_coef / max(sum(lengths), 1)
        return self._weighed(live, objective, hooks)

    def _one_step(
        self, batch: Sequence[Row], objective: Objective, tally: Tally, hooks: UpdateHooks
    ) -> None:
        self.last_lr = learning_rate(self.optim.config, self.step, self.total)
        # what a step that is left out, or begun anew, would have logged is left out too
        try:
            loss, own = self._fitting(self._measured_gradient, batch, objective, hooks)
            norm, taken = self.optim.step(self.last_lr)
            if not taken:
                raise NotFiniteError(f"the gradient norm is {norm}", self.step, batch)
        except NotFiniteError as error:
            self._skip(error)
            tally.totals["skipped_steps"] += 1
        else:
            self.skipped_in_a_row = 0
            tally.add(own)
            tally.totals["loss"] += loss / self.updates
            tally.totals["grad_norm"] += norm
        self.step += 1

    def _measured_gradient(
        self, batch: Sequence[Row], objective: Objective, hooks: UpdateHooks
    ) -> tuple[float, Tally]:
        own = Tally()
        return self.gradient(batch, objective, own, hooks), own

    def _fitting(self, work: Callable[..., Result], rows: Sequence[Row], *rest: Any) -> Result:
        """Do something with rows, in smaller micro-batches where the device is full."""
        weighted = [(row, 1.0) for row in rows if len(row.tokens)]

        def smaller_helps() -> bool:
            return any(len(b) > 1 for b in micro_batches(weighted, self.budget.tokens))

        def undo() -> None:
            self.optim.zero_grad()
            self.policy.model.eval()

        return self.budget.run(lambda: work(rows, *rest), undo=undo, smaller_helps=smaller_helps)

    def _skip(self, error: NotFiniteError) -> None:
        """Leave an optimiser step out, where the run allows it."""
        if self.optim.config.on_nonfinite == "error":
            raise error
        self.optim.zero_grad()
        self.policy.model.eval()
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= MOST_SKIPPED:
            raise TrainingError(
                f"{self.skipped_in_a_row} optimiser steps in a row could not be taken; the last"
                f" one: {error.what}",
                remedy=(
                    "lower optim.lr (train.accept_change=[optim.lr] goes on in this folder from its"
                    " last checkpoint), or check the data"
                ),
            ) from error

    def _log_probs(
        self, rows: Sequence[Row], *, entropy_gradient: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(logp (N,), entropy (N,)) of the rows' tokens at the rollouts' temperature."""
        return log_probs(
            self.policy,
            [(r.prompt, r.tokens) for r in rows],
            temperature=self.temperature,
            prompt_once=self.prompt_once,
            entropy_gradient=entropy_gradient,
        )

    def _loss(
        self, micro: Sequence[Weighted], objective: Objective, tally: Tally, hooks: UpdateHooks
    ) -> Tensor:
        rows = [r for r, _ in micro]
        device = self.policy.device
        logp, entropy = self._log_probs(rows, entropy_gradient=objective.entropy_coef > 0)
        sizes = [len(r.tokens) for r in rows]
        lengths = torch.tensor(sizes, device=device)

        def flat(values: Sequence[Tensor | None], default: Tensor) -> Tensor:
            parts = zip(values, torch.split(default, sizes), strict=True)
            return torch.cat([p if v is None else v.to(device, p.dtype) for v, p in parts])

        old = flat([r.old_logp for r in rows], logp.detach())
        advantage = flat([r.advantage for r in rows], logp.detach())
        kind = torch.tensor([int(r.kind) for r in rows], device=device).repeat_interleave(lengths)
        weight = torch.tensor([w for _, w in micro], device=device, dtype=logp.dtype)
        self._check({"log-probabilities": logp, "old_logp": old, "advantage": advantage}, rows)
        guard = Guard(hooks, self.step)
        tokens = RowTokens(rows, logp, old, advantage, kind)
        with guard.calling("token_loss"):
            returned = hooks.token_loss(tokens, objective)
        loss, stats = guard.loss(returned, logp)
        loss, importance = corrected(loss, tokens, objective)
        stats |= importance
        with torch.no_grad():
            gap = (flat([r.sampler_logp for r in rows], logp.detach()) - logp).abs()
            stats["entropy"], stats["logp_gap"] = entropy.sum(), gap.sum()
            known = [i for i, r in enumerate(rows) if r.sampler_logp is not None]
            stats["gap_tokens"] = lengths[known].sum()
            off = kind == Kind.OFF
            stats["off_probability"], stats["off_tokens"] = (logp.exp() * off).sum(), off.sum()
            ratios = torch.split((logp - old).exp(), sizes)
            with guard.calling("row_metrics"):
                measured = hooks.row_metrics(rows, ratios, objective)
            for name, values in guard.metrics(measured).items():
                for value in values:
                    tally.measure(name, float(value))
        for name, amount in stats.items():
            tally.totals[name] += float(amount)
        weighted = loss * weight.repeat_interleave(lengths)
        return weighted.sum() - self.entropy_weight * entropy.sum()

    @torch.no_grad()
    def _check(self, tensors: Mapping[str, Tensor], rows: Sequence[Row]) -> None:
        """Raise `NotFiniteError` naming the first of some tensors (N,) that is not finite, and the
        groups it is of."""
        if bool(torch.stack([t.isfinite().all() for t in tensors.values()]).all()):
            return
        sizes = [len(row.tokens) for row in rows]
        for name, tensor in tensors.items():
            broken = [
                row
                for row, own in zip(rows, torch.split(tensor, sizes), strict=True)
                if not bool(own.isfinite().all())
            ]
            if broken:
                raise NotFiniteError(f"`{name}` is not finite", self.step, broken)

    @torch.no_grad()
    def _weighed(
        self, live: list[Weighted], objective: Objective, hooks: UpdateHooks
    ) -> list[Weighted]:
        """The rows' weights times what the method says of them."""
        rows = [r for r, _ in live]
        guard = Guard(hooks, self.step)
        with guard.calling("row_weights"):
            factors = hooks.row_weights(rows, self._ratios, objective)
        if factors is None:
            return live
        guard.weights(factors, rows)
        return [(r, w * float(f)) for (r, w), f in zip(live, factors, strict=True)]

    @torch.no_grad()
    def _ratios(self, rows: Sequence[Row]) -> list[Tensor]:
        """exp(logp - old_logp) of some rows in one forward, (T,) each. Where there is no
        `old_logp` the ratio is to the weights under update: 1."""
        if not rows:
            return []
        logp, _ = self._log_probs(rows)
        return [
            torch.ones_like(own) if row.old_logp is None else (own - row.old_logp.to(own)).exp()
            for row, own in zip(rows, torch.split(logp, [len(r.tokens) for r in rows]), strict=True)
        ]

    @torch.no_grad()
    def _with_old(self, batch: list[Row]) -> list[Row]:
        """Fill in `old_logp` at the current weights where it is missing and needed."""
        missing = [
            i
            for i, r in enumerate(batch)
            if r.old_logp is None and r.kind == Kind.PG and is_live(r)
        ]
        out = list(batch)
        for micro in micro_batches(
            [(replace(batch[i], group=str(i)), 0.0) for i in missing], self.budget.tokens
        ):
            logp, _ = self._log_probs([r for r, _ in micro])
            sizes = [len(r.tokens) for r, _ in micro]
            for (row, _), old in zip(micro, torch.split(logp, sizes), strict=True):
                out[int(row.group)] = replace(batch[int(row.group)], old_logp=old)
        return out
