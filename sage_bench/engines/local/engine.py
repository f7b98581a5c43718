"""The local engine, assembled."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.base import Stats
from sage_bench.engines.local.learner import PLAIN, Learner
from sage_bench.generation import adapters
from sage_bench.generation.local.forward import kl_divergence, log_probs
from sage_bench.generation.local.policy import (
    BasePolicy,
    Policy,
    check_all_there,
    check_finite,
)
from sage_bench.generation.samplers.base import Sampler, draw_together
from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.weights import policy_digest
from sage_bench.methods.guard import answered
from sage_bench.methods.hooks import UpdateHooks
from sage_bench.methods.objective import Objective
from sage_bench.types import (
    Answer,
    Consult,
    PolicyAccess,
    Request,
    Row,
    Sample,
    Score,
    Scored,
)
from sage_bench.utils.files import read_json, write_json


class LocalEngine:
    """Answers requests with a `Sampler` and `log_probs`, and those a method brings with their own
    `answer`; applies rows with `Learner` (see `engines.base.Engine`).

    sampler: who draws completions, by default our own on the policy that learns. Anything that
    gives tokens and log-probabilities will do; an evaluation can draw from it, too.

    seed: base of all sampling seeds. kl_rows: rows a step on which KL to the initial policy is
    measured (0 = off; it keeps a second copy of the weights).
    """

    capabilities = frozenset({"sample", "score", "policy"})
    learner_type: ClassVar[type[Learner]] = Learner

    def __init__(
        self,
        policy: Policy,
        optim: OptimConfig,
        *,
        seed: int = 0,
        wave_tokens: int = 1 << 18,
        kl_rows: int = 0,
        sampler: Sampler | None = None,
        **learner: Any,
    ):
        self.policy, self.seed, self.kl_rows = policy, seed, kl_rows
        self.sampler = sampler or Hf.of(policy, wave_tokens=wave_tokens)
        self.learner = self.learner_type(policy, optim, **learner)
        self.adapted = adapters.has_adapters(policy.model)
        self.start = self._start() if kl_rows else None

    def _start(self) -> Policy:
        """The initial policy, for the KL divergence to it."""
        policy = self.policy
        if self.adapted:  # it is still there, below the adapters
            return BasePolicy(policy.model, policy.tokenizer, policy.path, policy.split)
        start = copy.copy(policy)
        start.model = copy.deepcopy(policy.model).requires_grad_(False)
        return start

    def any(self, flag: bool) -> bool:
        return flag

    def run(self, asks: list[Request]) -> list[Answer]:
        answers: list[Answer] = [None] * len(asks)
        samples: dict[int, Sample] = {}
        others: dict[type[Request], list[int]] = {}
        for i, ask in enumerate(asks):
            if isinstance(ask, Sample):
                samples[i] = ask
            elif isinstance(ask, Consult):
                raise NotImplementedError("a `Consult` is for its service, not for an engine")
            else:
                others.setdefault(type(ask), []).append(i)
        drawn = draw_together(self.sampler, list(samples.values()), self.seed)
        for i, completions in zip(samples, drawn, strict=True):
            answers[i] = completions
        for kind, mine in others.items():
            found = self._answers(kind, [asks[i] for i in mine])
            for i, answer in zip(mine, found, strict=True):
                answers[i] = answer
        return answers

    def _answers(self, kind: type[Request], asks: list[Request]) -> list[Answer]:
        """Answers to requests of one kind, in parts that fit the learner's budget."""

        def in_parts() -> list[Answer]:
            found: list[Answer] = []
            for part in self._parts(asks):
                found += self._answer(kind, asks[part.start : part.stop])
            return found

        return self.learner.budget.run(
            in_parts,
            undo=self.learner.optim.zero_grad,
            smaller_helps=lambda: any(len(part) > 1 for part in self._parts(asks)),
        )

    def _answer(self, kind: type[Request], asks: list[Request]) -> list[Answer]:
        if issubclass(kind, Score):
            return self._scores([ask for ask in asks if isinstance(ask, Score)])
        access = PolicyAccess(self.policy, self.seed, self.learner.budget.tokens)
        return answered(kind, access, asks)

    def update(
        self, rows: Sequence[Row], objective: Objective, hooks: UpdateHooks = PLAIN
    ) -> Stats:
        self.sampler.rest()
        kl = self._kl_to_start(rows)  # before the update: the rows were drawn from these weights
        stats = self.learner.update(rows, objective, hooks)
        self.sampler.weights_changed()
        return stats | kl | self.sampler.measured()

    def _parts(self, asks: Sequence[Request]) -> Iterator[range]:
        """Consecutive requests whose padded tokens fit the learner's budget."""
        start = longest = 0
        for i, ask in enumerate(asks):
            longest = max(longest, ask.width)
            if i > start and (i + 1 - start) * longest > self.learner.budget.tokens:
                yield range(start, i)
                start, longest = i, ask.width
        if start < len(asks):
            yield range(start, len(asks))

    @torch.no_grad()
    def _scores(self, asks: Sequence[Score]) -> list[Answer]:
        logp, entropy = log_probs(self.policy, [(a.prompt, a.tokens) for a in asks])
        sizes = [len(a.tokens) for a in asks]
        both = zip(
            asks, torch.split(logp.cpu(), sizes), torch.split(entropy.cpu(), sizes), strict=True
        )
        return [Scored(own, spread) if ask.entropy else own for ask, own, spread in both]

    @torch.no_grad()
    def _kl_to_start(self, rows: Sequence[Row]) -> Stats:
        """Mean KL(policy || initial policy) a token, on evenly spaced sampled rows of the step."""
        sampled = [(r.prompt, r.tokens) for r in rows if r.sampler_logp is not None]
        if self.start is None or not sampled:
            return {}
        pairs = sampled[:: max(1, len(sampled) // self.kl_rows)][: self.kl_rows]
        return {"kl_start": float(kl_divergence(self.policy, self.start, pairs).mean())}

    def save(self, folder: Path) -> None:
        """Write a folder `transformers` loads (weights or adapters, tokenizer, template) and
        `engine.json` + `optimizer.safetensors` beside it."""
        model: Any = self.policy.model
        if self.adapted:
            adapters.save(model, folder, base=self.policy.path)
        else:
            model.save_pretrained(folder)
        self.policy.tokenizer.save_pretrained(folder)
        self.learner.optim.save(folder / "optimizer.safetensors")
        self.write_progress(folder)

    def write_progress(self, folder: Path) -> None:
        """engine.json: how many optimiser steps there were."""
        write_json(
            folder / "engine.json",
            {
                "optimizer_step": self.learner.step,
                "updates_taken": self.learner.optim.taken,
                "skipped_in_a_row": self.learner.skipped_in_a_row,
                **self.learner.budget.saved(),
            },
        )

    def load(self, folder: Path) -> None:
        """Bring weights, optimiser and schedule to what `save` wrote.

        Raises `SageBenchError` when a tensor is missing, left over or of another shape.
        """
        if self.adapted:
            adapters.load(self.policy.model, folder)
        else:
            self._load_weights(folder)
        progress = read_json(folder / "engine.json")
        self.learner.step = progress["optimizer_step"]
        self.learner.skipped_in_a_row = progress.get("skipped_in_a_row", 0)
        self.learner.budget.restore(progress.get("micro_tokens"))
        # checkpoints of earlier versions do not count skipped steps apart
        taken = progress.get("updates_taken", self.learner.step)
        self.learner.optim.load(folder / "optimizer.safetensors", taken)
        self.sampler.weights_changed()

    def _load_weights(self, folder: Path) -> None:
        model: Any = self.policy.model
        saved, found = type(model).from_pretrained(
            folder, dtype=self.policy.dtype, output_loading_info=True
        )
        check_all_there(found, str(folder))
        check_finite(saved, str(folder))
        model.load_state_dict(saved.state_dict())

    def weights_digest(self) -> str:
        """Of the weights as they are now, adapters merged in."""
        return policy_digest(self.policy.model)

    def describe(self) -> dict[str, Any]:
        model = self.policy.model
        described = {
            "architecture": type(model).__name__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "dtype": str(self.policy.dtype),
            "device": str(self.policy.device),
            "head_split": self.policy.split,
            "context": self.policy.context,
        }
        if self.adapted:
            learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
            described["parameters_of_adapters"] = learning
        return described
