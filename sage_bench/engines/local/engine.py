"""The local engine, assembled."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sage_bench.config import OptimConfig
from sage_bench.engines.base import Stats
from sage_bench.engines.local.forward import kl_divergence, log_probs
from sage_bench.engines.local.learner import Learner
from sage_bench.engines.local.policy import Policy
from sage_bench.engines.local.sampler import Draw, Sampler
from sage_bench.objective import Objective
from sage_bench.rollout import Answer, Request, Row, Sample, Score
from sage_bench.seeds import derive_seed


class LocalEngine:
    """Answers requests with `Sampler` and `log_probs`, applies rows with `Learner` (see `engines.base.Engine`).

    seed: base of all sampling seeds. kl_rows: rows a step on which KL to the initial policy is measured (0 = off; it
    keeps a second copy of the weights).
    """

    capabilities = frozenset({"sample", "score"})

    def __init__(self, policy: Policy, optim: OptimConfig, *, seed: int = 0, wave_tokens: int = 1 << 18, kl_rows: int = 0, **learner: Any):
        self.policy, self.seed, self.kl_rows = policy, seed, kl_rows
        self.sampler = Sampler(policy, wave_tokens=wave_tokens)
        self.learner = Learner(policy, optim, **learner)
        self.start = copy.copy(policy) if kl_rows else None
        if self.start is not None:
            self.start.model = copy.deepcopy(policy.model).requires_grad_(False)
        self.on_wave: Callable[[int], None] | None = None

    def any(self, flag: bool) -> bool:
        return flag

    def run(self, asks: list[Request]) -> list[Answer]:
        draws, owners = [], []
        answers: list[Answer] = [[] for _ in asks]
        for i, ask in enumerate(asks):
            if isinstance(ask, Sample):
                draws += [Draw(ask.prompt, ask.params, derive_seed(self.seed, *ask.key, k)) for k in range(ask.n)]
                owners += [i] * ask.n
            elif isinstance(ask, Score):
                answers[i] = self._score(ask)
            else:
                raise NotImplementedError(f"the local engine does not answer {type(ask).__name__}")
        for i, completion in zip(owners, self.sampler.draw(draws, self.on_wave), strict=True):
            answers[i].append(completion)  # type: ignore[union-attr]
        return answers

    def update(self, rows: Sequence[Row], objective: Objective) -> Stats:
        kl = self._kl_to_start(rows)  # before the update: the rows were drawn from these weights
        return self.learner.update(rows, objective) | kl

    @torch.no_grad()
    def _score(self, ask: Score) -> Tensor:
        return log_probs(self.policy, [(ask.prompt, ask.tokens)])[0].cpu()

    @torch.no_grad()
    def _kl_to_start(self, rows: Sequence[Row]) -> Stats:
        """Mean KL(policy || initial policy) a token, on evenly spaced sampled rows of the step."""
        sampled = [(r.prompt, r.tokens) for r in rows if r.sampler_logp is not None]
        if self.start is None or not sampled:
            return {}
        pairs = sampled[:: max(1, len(sampled) // self.kl_rows)][: self.kl_rows]
        return {"kl_start": float(kl_divergence(self.policy, self.start, pairs).mean())}

    def save(self, folder: Path) -> None:
        """Write a folder `transformers` loads (weights, tokenizer, template) and `engine.json` + `optimizer.safetensors` beside it."""
        self.policy.model.save_pretrained(folder)
        self.policy.tokenizer.save_pretrained(folder)
        self.learner.optim.save(folder / "optimizer.safetensors")
        (folder / "engine.json").write_text(json.dumps({"optimizer_step": self.learner.step}))

    def load(self, folder: Path) -> None:
        saved = type(self.policy.model).from_pretrained(folder, dtype=self.policy.dtype)
        self.policy.model.load_state_dict(saved.state_dict())
        self.learner.optim.load(folder / "optimizer.safetensors")
        self.learner.step = json.loads((folder / "engine.json").read_text())["optimizer_step"]

    def describe(self) -> dict[str, Any]:
        model = self.policy.model
        return {
            "architecture": type(model).__name__, "parameters": sum(p.numel() for p in model.parameters()), "dtype": str(self.policy.dtype),
            "device": str(self.policy.device), "head_split": self.policy.split,
        }


