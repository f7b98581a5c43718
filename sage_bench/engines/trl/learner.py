"""The learner's arithmetic, shared with the local engine, on rows that are spread over ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from sage_bench.engines.local.learner import (
    Learner,
    NotFiniteError,
    Tally,
    Weighted,
    is_live,
    split_updates,
)
from sage_bench.engines.ranks import ALONE, Ranks
from sage_bench.engines.trl.packing import schedule, stand_in
from sage_bench.methods.hooks import UpdateHooks
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind, Row
from sage_bench.utils.seeds import derive_seed

Result = TypeVar("Result")
Forward = Callable[[Sequence[Row], bool], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class OptimizerStep:
    """One optimiser step. live: the rows of all ranks that have a gradient, with their weights.
    tokens: of all ranks' rows, trained on or not. left_out: rows of all ranks without a gradient.
    """

    live: list[Weighted]
    tokens: int
    left_out: int

    @property
    def rows(self) -> list[Row]:
        return [row for row, _ in self.live]

    @property
    def trained_tokens(self) -> int:
        return sum(len(row.tokens) for row in self.rows)


class RankLearner(Learner):
    """Weights and losses of rows, computed alike on every rank from all rows; only forwards are
    shared out. TRL's trainer takes the gradient and the step.

    forward: log-probabilities and entropies (N,) of some rows' tokens, set by the engine. ranks:
    who takes part. sharded: weights are spread over the ranks, so that every forward is collective.
    """

    forward: Forward
    ranks: Ranks = ALONE
    sharded = False
    fault: tuple[str, list[str]] | None = None  # what was not finite on this rank, in which groups

    def steps(self, rows: Sequence[Row]) -> list[list[Row]]:
        """A rollout batch as optimiser steps; ratios of later ones are to the weights as they
        are."""
        # a rank may have lowered its own; all must cut the same micro-batches
        self.budget.agree(self.ranks)
        batches = split_updates(rows, self.updates)
        batches[1:] = [self._with_old(batch) for batch in batches[1:]]
        return batches

    def planned(
        self, rows: Sequence[Row], objective: Objective, hooks: UpdateHooks
    ) -> OptimizerStep:
        """One optimiser step's rows, weighed."""
        self.fault = None
        live = self.trained(rows, objective, hooks)
        return OptimizerStep(live, sum(len(row.tokens) for row in rows), len(rows) - len(live))

    def mine(self, step: OptimizerStep) -> list[list[Weighted]]:
        """This rank's micro-batches of a step; as many as on every rank, so some may be empty."""
        return [[step.live[i] for i in micro] for micro in self._share(step.rows)]

    def _share(self, rows: Sequence[Row]) -> list[list[int]]:
        """Indices of the rows this rank runs, by micro-batch."""
        # groups are run whole; not where they did not fit, nor where a step cannot begin anew
        cut = self.sharded or self.budget.lowered
        return schedule(rows, self.ranks.size, self.budget.tokens, cut=cut)[self.ranks.rank]

    def fitting(
        self, work: Callable[[], Result], rows: Sequence[Row], undo: Callable[[], None]
    ) -> Result:
        """This rank's part of something with rows, in smaller micro-batches on all ranks where one
        is out of memory.

        Not where weights are sharded: the other ranks are in the same forward and wait for this
        one, so the run ends there (`TrlEngine.follow`).
        """
        if self.sharded:
            return work()

        def smaller_helps() -> bool:
            return any(len(micro) > 1 for micro in self._share(rows))

        return self.budget.run(work, undo=undo, smaller_helps=smaller_helps, ranks=self.ranks)

    @contextlib.contextmanager
    def dropout(self) -> Iterator[None]:
        """Random numbers of their own for the dropout of a step on this rank."""
        if self.dropout_seed is None:
            yield
            return
        device = self.policy.device
        # of this process's GPU alone: the others are other ranks'
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            seed = derive_seed(self.dropout_seed, "dropout", self.step, self.ranks.rank)
            torch.manual_seed(seed)
            yield

    def loss(
        self, micro: Sequence[Weighted], objective: Objective, tally: Tally, hooks: UpdateHooks
    ) -> Tensor:
        """The loss of one micro-batch, connected to the weights even where it has no row."""
        if not micro:
            logp, _ = self.forward([stand_in(self.policy.pad_id)], False)
            return 0.0 * logp.sum()
        loss = self._loss(micro, objective, tally, hooks)
        rows = [row for row, _ in micro]
        if not bool(loss.detach().isfinite()) and self.fault is None:
            self.fault = (f"the loss is {loss.item()}", _groups(rows))
        tally.totals["loss"] += float(loss.detach())
        return loss

    def left_out(self, faults: Sequence[tuple[str, list[str]] | None]) -> bool:
        """Whether the optimiser step is left out, since a rank met a number that is not finite.

        Raises what the local engine raises, on every rank: `NotFiniteError`, or `TrainingError` at
        the third in a row.
        """
        found = [fault for fault in faults if fault is not None]
        if not found:
            self.skipped_in_a_row = 0
            return False
        what, groups = found[0]
        empty: tuple[int, ...] = ()
        self._skip(NotFiniteError(what, self.step, [Row(empty, empty, NONE, g) for g in groups]))
        return True

    # ---- what the local learner does on one device ---------------------------------------------
    def _log_probs(
        self, rows: Sequence[Row], *, entropy_gradient: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self.forward(rows, entropy_gradient)

    def _check(self, tensors: Mapping[str, Tensor], rows: Sequence[Row]) -> None:
        """Kept and not raised: the other ranks are in the same backward."""
        try:
            super()._check(tensors, rows)
        except NotFiniteError as error:
            self.fault = self.fault or (error.what, _groups(rows))

    @torch.no_grad()
    def _ratios(self, rows: Sequence[Row]) -> list[Tensor]:
        if not rows:
            return []
        return [
            torch.ones_like(own) if row.old_logp is None else (own - row.old_logp.to(own)).exp()
            for row, own in zip(rows, self._shared_log_probs(rows), strict=True)
        ]

    @torch.no_grad()
    def _with_old(self, batch: list[Row]) -> list[Row]:
        missing = [
            i
            for i, row in enumerate(batch)
            if row.old_logp is None and row.kind == Kind.PG and is_live(row)
        ]
        if not missing:
            return batch
        found = self._shared_log_probs([batch[i] for i in missing])
        out = list(batch)
        for i, logp in zip(missing, found, strict=True):
            out[i] = replace(batch[i], old_logp=logp)
        return out

    def _shared_log_probs(self, rows: Sequence[Row]) -> list[Tensor]:
        """Log-probabilities of each row's tokens, (T,) each on the CPU. Collective: each rank runs
        its share, all get all."""
        model = self.policy.model
        training = model.training
        model.eval()  # without dropout, as they were sampled
        mine = self.fitting(lambda: self._own_log_probs(rows), rows, undo=lambda: None)
        model.train(training)
        found: dict[int, Tensor] = {}
        for part in self.ranks.gather(mine):
            found |= part
        return [found[i] for i in range(len(rows))]

    def _own_log_probs(self, rows: Sequence[Row]) -> dict[int, Tensor]:
        """Those of this rank's share, by the row's index."""
        mine: dict[int, Tensor] = {}
        for micro in self._share(rows):
            own = [rows[i] for i in micro] or [stand_in(self.policy.pad_id)]
            logp, _ = self.forward(own, False)
            parts = torch.split(logp.float().cpu(), [len(row.tokens) for row in own])
            mine |= dict(zip(micro, parts, strict=False))
        return mine


NONE = torch.zeros(0)


def _groups(rows: Sequence[Row]) -> list[str]:
    return sorted({row.group for row in rows})
