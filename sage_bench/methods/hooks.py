"""What a method may change of the update: weights of its rows, numbers for the log, the loss.

The learner calls these hooks and knows no method. Their defaults cost nothing: no weights, no
numbers, the loss of `sage_bench.methods.losses`.

Shapes: R rows of T tokens each (T differs), N tokens of some rows laid end to end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sage_bench.methods.objective import Objective
from sage_bench.types import Row
from sage_bench.utils.registry import Registry

if TYPE_CHECKING:  # reports read the registry of diagnostics, and need no torch
    from torch import Tensor

Ratios: TypeAlias = "Callable[[Sequence[Row]], list[Tensor]]"
Measured: TypeAlias = Mapping[str, Sequence[float]]
Measure: TypeAlias = "Callable[[Sequence[Row], Sequence[Tensor], Objective], Measured]"


@dataclass(frozen=True, slots=True)
class RowTokens:
    """The completion tokens of some whole rows, laid end to end, as the loss sees them.

    logp (N,): at the weights under update, with gradient. old_logp (N,): of the policy that defines
    the ratio. advantage (N,); kind (N,): `Kind` values. All on one device and of one type.
    """

    rows: Sequence[Row]
    logp: Tensor
    old_logp: Tensor
    advantage: Tensor
    kind: Tensor

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """(N,) values as one (T,) a row."""
        import torch

        return torch.split(values, [len(row.tokens) for row in self.rows])


class UpdateHooks:
    """The hooks, with their defaults. `Method` derives from this class."""

    def row_weights(
        self, rows: Sequence[Row], ratios: Ratios, objective: Objective
    ) -> Sequence[float] | None:
        """Factors the loss of each row is multiplied by, (R,); None = 1 for all.

        rows: those of one optimiser step that have an advantage. ratios: give it some of these rows
        and get exp(logp - old_logp) at the weights under update, one (T,) a row without gradient
        and in one forward; exactly 1 for rows without `old_logp`, whose ratio is to these weights.
        Only rows that are asked for cost a forward.
        """
        return None

    def row_metrics(
        self, rows: Sequence[Row], ratios: Sequence[Tensor], objective: Objective
    ) -> Measured:
        """Numbers for the log, by name; the mean over all numbers of a step is logged as
        `learner/NAME`. Called for the rows of every forward of the update, with their ratios, one
        (T,) a row."""
        return {}

    def token_loss(
        self, tokens: RowTokens, objective: Objective
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss of each token (N,), sums for the log); see `losses.token_loss`, the default.

        What is minimised is the sum over tokens of the loss times the weight that
        `objective.aggregation` gives a token of its row, so a loss of whole rows (a ratio of
        sequences, say) stands at every token of the row and takes `aggregation: seq-mean`.
        """
        from sage_bench.methods.losses import token_loss

        return token_loss(tokens.logp, tokens.old_logp, tokens.advantage, tokens.kind, objective)


@dataclass(frozen=True, slots=True)
class Panel:
    """A training curve of the report: title, caption, and the columns of metrics.jsonl it shows
    (several are summed)."""

    title: str
    caption: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Numbers that are measured in every run, whatever its method, and how the report shows them.

    measure: as `UpdateHooks.row_metrics`. Registered with `register_diagnostic("name")`.
    """

    measure: Measure
    panels: tuple[Panel, ...] = ()


# filled by modules of backends as they are imported, ours and those of plugins
DIAGNOSTICS: Registry[Diagnostic] = Registry("diagnostic")
register_diagnostic = DIAGNOSTICS.register
