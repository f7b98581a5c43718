"""TRL's GRPOTrainer with three members replaced: rows come from our training loop, and the
objective is ours. Everything else is TRL's and accelerate's: wrapping, backward, clipping, step.

`tests/engines/trl` watches the signatures of what is overridden and called here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from sage_bench.engines.trl.learner import OptimizerStep
from sage_bench.engines.trl.optimizer import optimizer_for
from sage_bench.engines.trl.packing import pack
from sage_bench.types import Row

if TYPE_CHECKING:
    from sage_bench.engines.trl.engine import TrlEngine

ROWS = 1024  # of the stand-in dataset: our loop chooses the problems, TRL only has to iterate


def no_reward(**_: Any) -> list[float]:
    """TRL wants a reward function; methods have verified their completions before TRL sees them."""
    raise NotImplementedError("rewards are the method's")


class RowTrainer(GRPOTrainer):  # type: ignore[misc]  # trl has no types
    """A GRPOTrainer that is handed rows with per-token advantages by a `TrlEngine`."""

    optimizer: Any

    def __init__(self, engine: TrlEngine, args: GRPOConfig):
        self.rows_of = engine
        use_cache = engine.policy.model.config.use_cache
        super().__init__(
            model=engine.policy.model,
            reward_funcs=no_reward,
            args=args,
            train_dataset=Dataset.from_list([{"prompt": ""}] * ROWS),
            processing_class=engine.policy.tokenizer,
            callbacks=[StepCallback(engine)],
        )
        self.remove_callback(PrinterCallback)  # it prints every log to stdout
        # TRL switches it off in the configuration that checkpoints keep
        engine.policy.model.config.use_cache = use_cache

    # ---- the three members that are replaced ----------------------------------------------------
    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """The next optimiser step.

        What TRL would put there for its own loss (an importance ratio, a normaliser of its
        generation batch) is not: `_compute_loss` reads weights that count all ranks' tokens.
        """
        step = self.rows_of.next_step()
        return {"step": step, "num_items_in_batch": step.tokens}

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """No shuffle and no cut by row: micro-batches are our own, of whole groups."""
        return self._generate_and_score_completions(generation_batch)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """What TRL goes backward through to end the step's gradient.

        The gradients of the micro-batches are taken here: how many there are differs from step to
        step, which TRL's accumulation does not know, and a full device makes them more. Where
        weights are sharded, TRL takes the last one's.
        """
        step = inputs["step"]
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return self._last_loss(step)
        self.rows_of.learner.fitting(
            lambda: self._own_gradients(model, step), step.rows, undo=self.rows_of.begin_anew
        )
        self.accelerator.gradient_state._set_sync_gradients(True)
        if self.accelerator.num_processes == 1:
            return torch.zeros((), device=self.accelerator.device, requires_grad=True)
        # its gradient is zero: its backward is where the ranks average theirs
        return self._scaled_loss([])

    # ---- not TRL's but transformers' hook for an optimiser of one's own ------------------------
    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The local engine's: all parameters decay, norms and biases too."""
        if self.optimizer is None:
            self.optimizer = optimizer_for(self.rows_of.learner.optim)
        created: torch.optim.Optimizer = self.optimizer
        return created

    # ---------------------------------------------------------------------------------------------
    def log_probs(self, rows: Sequence[Row], entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        """(logp (N,), entropy (N,)) of the rows' tokens, end to end, by TRL's fused head."""
        batch = pack(rows, self.rows_of.policy.pad_id, self.accelerator.device)
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        logp, entropy, _ = self._get_per_token_logps_and_entropies(
            self.model_wrapped, ids, mask, batch["completion_ids"].shape[1], compute_entropy=True
        )
        at = batch["completion_mask"].bool()
        return logp[at], entropy[at] if entropy_gradient else entropy[at].detach()

    def _scaled_loss(self, micro: Any) -> Tensor:
        # ranks' gradients are averaged; weights are shares of all ranks' tokens
        loss: Tensor = self.accelerator.num_processes * self.rows_of.loss(micro)
        return loss

    def _own_gradients(self, model: Any, step: OptimizerStep) -> None:
        """Add this rank's gradients up. No rank waits for another here."""
        self.accelerator.gradient_state._set_sync_gradients(False)
        learner = self.rows_of.learner
        with learner.dropout(), self.accelerator.no_sync(model):
            for micro in learner.mine(step):
                self.accelerator.backward(self._scaled_loss(micro))

    def _last_loss(self, step: OptimizerStep) -> Tensor:
        """The loss of the last micro-batch; gradients of the others are reduced at once, since
        they would not fit if they were kept whole until then."""
        learner = self.rows_of.learner
        *earlier, last = learner.mine(step)
        with learner.dropout():
            self.accelerator.gradient_state._set_sync_gradients(False)
            for micro in earlier:
                self.accelerator.backward(self._scaled_loss(micro))
            self.accelerator.gradient_state._set_sync_gradients(True)
            return self._scaled_loss(last)


class StepCallback(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Where TRL's loop touches ours: just before a step, and after it."""

    def __init__(self, engine: TrlEngine):
        self.engine = engine

    def on_train_begin(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        self.engine.wrapped()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        self.engine.before_step()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        self.engine.check_weights()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **now: Any) -> None:
        # the first callback after a step that is told the gradient norm
        if "grad_norm" in (logs or {}):
            control.should_training_stop = not self.engine.after_step(float(logs["grad_norm"]))
