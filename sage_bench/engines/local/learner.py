"""The learner: rows in, gradient out. It knows no method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from sage_bench.backends.hint.affinity import affinity
from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.forward import log_probs
from sage_bench.engines.local.optim import MasterAdamW, learning_rate
from sage_bench.generation.local.policy import Policy
from sage_bench.methods.objective import Objective, row_weights, token_loss
from sage_bench.types import Kind, Row
from sage_bench.utils.errors import TrainingError

Weighted = tuple[Row, float]  # a row and the weight of each of its tokens in the loss


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
    ):
        self.policy, self.optim, self.updates, self.total = (
            policy,
            MasterAdamW(
                policy.model.parameters(),
                optim,
                {p: name for name, p in policy.model.named_parameters()},
            ),
            updates,
            total,
        )
        self.micro_tokens, self.temperature, self.prompt_once, self.skip_dead = (
            micro_tokens,
            temperature,
            prompt_once,
            skip_dead,
        )
        self.gradient_checkpointing = gradient_checkpointing
        self.step, self.last_lr = 0, 0.0  # optimiser steps taken, rate of the last one
        self.entropy_weight = 0.0

    def update(self, rows: Sequence[Row], objective: Objective) -> dict[str, float]:
        """Apply one rollout batch. Returns means for the log (`entropy`, `clip_fraction`,
        `grad_norm`, ...).

        Raises `TrainingError` on a non-finite loss, before the weights are touched.
        """
        if not rows:
            return {}
        batches = split_updates(rows, self.updates)
        batches[1:] = [
            self._with_old(batch) for batch in batches[1:]
        ]  # their ratio is to the weights as they are now
        totals: dict[str, float] = defaultdict(float)
        for batch in batches:
            self._one_step(batch, objective, totals)
        out = {
            k: totals[k]
            for k in ("loss", "trained_rows", "trained_tokens", "skipped_rows", "skipped_steps")
        }
        out |= {"grad_norm": totals["grad_norm"] / len(batches), "lr": self.last_lr}
        means = {
            "entropy": "trained_tokens",
            "logp_gap": "gap_tokens",
            "ratio": "pg_tokens",
            "kl_old": "pg_tokens",
            "clip_fraction": "pg_tokens",
            "off_probability": "off_tokens",
            **dict.fromkeys(
                ("affinity", "affinity_eur", "affinity_uc", "affinity_v1"), "affinity_groups"
            ),
        }
        return out | {
            k: totals[k] / totals[over] for k, over in means.items() if totals[over]
        }  # no mean over nothing

    def gradient(
        self, rows: Sequence[Row], objective: Objective, totals: dict[str, float] | None = None
    ) -> float:
        """Add the gradient of one optimiser step's rows to the parameters' `.grad`. Returns the
        loss."""
        totals = defaultdict(float) if totals is None else totals
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
        live = self._weigh_by_affinity(live, objective)
        self.entropy_weight = objective.entropy_coef / max(sum(lengths), 1)
        loss_sum = 0.0
        self.policy.model.train(
            self.gradient_checkpointing
        )  # transformers checkpoints in train mode only
        for micro in micro_batches(live, self.micro_tokens):
            loss = self._loss(micro, objective, totals)
            if not torch.isfinite(loss):
                groups = sorted({r.group for r, _ in micro})
                raise TrainingError(
                    f"the loss is {loss.item()} at optimiser step {self.step} (groups"
                    f" {', '.join(groups[:3])})",
                    remedy=(
                        "lower optim.lr, check the data of these groups, or resume from an earlier"
                        " checkpoint; nothing was written"
                    ),
                )
            loss.backward()
            loss_sum += loss.item()
        self.policy.model.eval()
        totals["trained_rows"] += len(live)
        totals["trained_tokens"] += sum(len(r.tokens) for r, _ in live)
        totals["skipped_rows"] += len(rows) - len(live)
        return loss_sum

    def _one_step(
        self, batch: Sequence[Row], objective: Objective, totals: dict[str, float]
    ) -> None:
        totals["loss"] += self.gradient(batch, objective, totals) / self.updates
        self.last_lr = learning_rate(self.optim.config, self.step, self.total)
        norm, taken = self.optim.step(self.last_lr)
        if not taken:
            if self.optim.config.on_nonfinite == "error":
                raise TrainingError(
                    f"the gradient norm is {norm} at optimiser step {self.step}",
                    remedy="lower optim.lr, or set optim.on_nonfinite=skip as the recipe does",
                )
            totals["skipped_steps"] += 1
        totals["grad_norm"] += norm if taken else 0.0
        self.step += 1

    def _loss(
        self, micro: Sequence[Weighted], objective: Objective, totals: dict[str, float]
    ) -> Tensor:
        rows = [r for r, _ in micro]
        device = self.policy.device
        logp, entropy = log_probs(
            self.policy,
            [(r.prompt, r.tokens) for r in rows],
            temperature=self.temperature,
            prompt_once=self.prompt_once,
            entropy_gradient=objective.entropy_coef > 0,
        )
        lengths = torch.tensor([len(r.tokens) for r in rows], device=device)

        def flat(values: Sequence[Tensor | None], default: Tensor) -> Tensor:
            parts = default.split(lengths.tolist())
            return torch.cat(
                [
                    p if v is None else v.to(device, p.dtype)
                    for v, p in zip(values, parts, strict=True)
                ]
            )

        old = flat([r.old_logp for r in rows], logp.detach())
        advantage = flat([r.advantage for r in rows], logp.detach())
        kind = torch.tensor([int(r.kind) for r in rows], device=device).repeat_interleave(lengths)
        weight = torch.tensor(
            [w for _, w in micro], device=device, dtype=logp.dtype
        ).repeat_interleave(lengths)
        loss, stats = token_loss(logp, old, advantage, kind, objective)
        with torch.no_grad():
            gap = (flat([r.sampler_logp for r in rows], logp.detach()) - logp).abs()
            stats["entropy"], stats["logp_gap"] = entropy.sum(), gap.sum()
            stats["gap_tokens"] = lengths[
                [i for i, r in enumerate(rows) if r.sampler_logp is not None]
            ].sum()
            off = kind == Kind.OFF
            stats["off_probability"], stats["off_tokens"] = (logp.exp() * off).sum(), off.sum()
            self._log_affinity(rows, (logp - old).exp().split(lengths.tolist()), objective, totals)
        for name, value in stats.items():
            totals[name] += float(value)
        return (loss * weight).sum() - self.entropy_weight * entropy.sum()

    def _log_affinity(
        self,
        rows: Sequence[Row],
        ratios: Sequence[Tensor],
        objective: Objective,
        totals: dict[str, float],
    ) -> None:
        """Affinity of every policy-gradient group, hinted or not: a diagnostic for all methods
        (rows of one micro-batch)."""
        groups: dict[str, list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            if row.kind == Kind.PG:
                groups[row.group].append(i)
        for members in groups.values():
            a = affinity(
                torch.cat([ratios[i] for i in members]),
                torch.cat([rows[i].advantage for i in members]).to(ratios[0].device),
                objective.clip_low,
            )
            for name, value in (
                ("affinity", a.value),
                ("affinity_eur", a.eur),
                ("affinity_uc", a.uc),
                ("affinity_v1", a.first),
                ("affinity_groups", 1.0),
            ):
                totals[name] += value

    @torch.no_grad()
    def _weigh_by_affinity(self, rows: list[Weighted], objective: Objective) -> list[Weighted]:
        """Multiply the weights of groups that ask for it by stopgrad(Affinity ** lambda) (HINT's
        AAPO).

        A group without old log-probabilities is scored at the weights that define them: its ratio
        and its Affinity are 1.
        """
        asking = {r.group for r, _ in rows if r.affinity and r.old_logp is not None}
        factors: dict[str, float] = {}
        for name in asking:
            members = [r for r, _ in rows if r.group == name]
            logp, _ = log_probs(
                self.policy,
                [(r.prompt, r.tokens) for r in members],
                temperature=self.temperature,
                prompt_once=self.prompt_once,
            )
            old = torch.cat([r.old_logp for r in members if r.old_logp is not None]).to(logp)
            value = affinity(
                (logp - old).exp(),
                torch.cat([r.advantage for r in members]).to(logp.device),
                objective.clip_low,
            ).value
            factors[name] = value ** members[0].affinity
        return [(r, w * factors.get(r.group, 1.0)) for r, w in rows]

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
            [(replace(batch[i], group=str(i)), 0.0) for i in missing], self.micro_tokens
        ):
            logp, _ = log_probs(
                self.policy,
                [(r.prompt, r.tokens) for r, _ in micro],
                temperature=self.temperature,
                prompt_once=self.prompt_once,
            )
            for (row, _), old in zip(
                micro, logp.split([len(r.tokens) for r, _ in micro]), strict=True
            ):
                out[int(row.group)] = replace(batch[int(row.group)], old_logp=old)
        return out
