"""One more token of every row in tensors of fixed size, which a GPU records once and replays.

Where many small kernels are started for every token, starting them is what takes the time, not what
they compute. CUDA graphs start all of them at once, but want the same tensors every time: so every
row has a place in a cache of fixed size, writes at its own position of it, and leaves it to another
row when it has ended. Nothing is moved. On a processor the same is computed and nothing recorded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from sage_bench.generation.local.policy import Policy
from sage_bench.generation.local.prefill import Prefill
from sage_bench.utils.errors import SageBenchError

COLUMNS = 256  # attention reads so many positions more at a time; each number of them is recorded
WARM_UP = 2  # runs before the recording, in which libraries choose their kernels
FEW = 0.25  # share of the places that are taken at which the others are given up


class Shared:
    """What all layers read: where each place writes, and how many columns are read."""

    def __init__(self, places: int, device: torch.device):
        self.length = torch.zeros(places, dtype=torch.long, device=device)
        self.columns = COLUMNS


class PlacedLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types here
    """Keys and values of S places, (S, heads, capacity, head_dim); `update` writes one position of
    every place, its own, and returns the columns that are read."""

    def __init__(self, like: Tensor, places: int, capacity: int, shared: Shared):
        super().__init__()
        self.dtype, self.device = like.dtype, like.device
        self.is_initialized = True
        self.shared = shared
        _, heads, _, size = like.shape
        self.keys = like.new_zeros(places, heads, capacity, size)
        self.values = torch.zeros_like(self.keys)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        at = self.shared.length[:, None, None, None].expand_as(key_states)
        self.keys.scatter_(2, at, key_states)
        self.values.scatter_(2, at, value_states)
        columns = self.shared.columns
        return self.keys[:, :, :columns], self.values[:, :, :columns]


class Places:
    """The model's own forward over a cache of fixed places. Row i lies in place `place[i]`.

    limit: most tokens a row will have.
    """

    def __init__(self, policy: Policy, start: Prefill, limit: int):
        self.policy = policy
        self.limit = limit
        self.cache = policy.new_cache()
        layers = start.cache.layers
        self._allocate([layer.keys for layer in layers], len(start.rows), start.mask.shape[1])
        self.place = torch.arange(len(start.rows), device=policy.device)
        self._settle(start, self.place)

    def _allocate(self, like: list[Tensor], places: int, width: int) -> None:
        """Room for so many rows with prompts of this width."""
        device = self.policy.device
        self.capacity = rounded_up(width + self.limit)
        self.shared = Shared(places, device)
        self.cache.layers = [PlacedLayer(x, places, self.capacity, self.shared) for x in like]
        self.tokens = torch.zeros(places, dtype=torch.long, device=device)
        self.position = torch.zeros(places, 1, dtype=torch.long, device=device)
        self.longest = 0  # at least every length in use, without asking for them at every token
        self.recorded: dict[int, tuple[Any, Tensor]] = {}

    def _settle(self, start: Prefill, places: Tensor) -> None:
        """Put the keys and values of prompts into places, from the first column on."""
        seen = start.mask != 0
        # a prompt may begin with what all share and then have padding: its own columns come first
        order = torch.argsort((~seen).int(), dim=1, stable=True)
        width = seen.shape[1]
        for layer, theirs in zip(self.cache.layers, start.cache.layers, strict=True):
            pairs = (layer.keys, theirs.keys), (layer.values, theirs.values)
            for buffer, new in pairs:
                own = new.gather(2, order[:, None, :, None].expand_as(new))
                buffer[places, :, :width] = own[start.rows]
        self.shared.length[places] = seen.sum(1)[start.rows]
        self.longest = max(self.longest, width)

    # ---- what a batch asks for ----
    def hidden(self, tokens: Tensor, position: Tensor) -> Tensor:
        self.tokens[self.place] = tokens
        self.position[self.place] = position
        self.longest = min(self.longest + 1, self.capacity)
        self.shared.columns = min(rounded_up(self.longest), self.capacity)
        return self._states()[self.place]

    def drop(self, keep: Tensor) -> None:
        self.place = self.place[keep]
        self.longest = int(self.shared.length[self.place].max())
        if len(self.place) <= FEW * len(self.tokens):
            self._move(len(self.place), self.capacity - self.limit)

    def join(self, start: Prefill) -> None:
        rows, width = len(start.rows), start.mask.shape[1]
        needed = len(self.place) + rows
        if needed > len(self.tokens) or width + self.limit > self.capacity:
            self._move(max(needed, len(self.tokens)), max(width, self.capacity - self.limit))
        free = torch.ones_like(self.tokens, dtype=torch.bool)
        free[self.place] = False
        new = free.nonzero()[:rows, 0]
        self._settle(start, new)
        self.place = torch.cat([self.place, new])

    def _move(self, places: int, width: int) -> None:
        """The rows there are into the first places of another cache."""
        before, length, longest = self.cache.layers, self.shared.length, self.longest
        rows = len(self.place)
        self._allocate([layer.keys for layer in before], places, width)
        for layer, old in zip(self.cache.layers, before, strict=True):
            for buffer, had in ((layer.keys, old.keys), (layer.values, old.values)):
                columns = min(had.shape[2], self.capacity)
                buffer[:rows, :, :columns] = had[self.place, :, :columns]
        self.shared.length[:rows] = length[self.place]
        self.longest = longest
        self.place = torch.arange(rows, device=self.policy.device)

    # ---- how ----
    def _states(self) -> Tensor:
        """(S, H) of all places, those nobody has as well."""
        if self.policy.device.type != "cuda":
            return self._step()
        columns = self.shared.columns
        if columns not in self.recorded:
            self.recorded[columns] = self._record()
        graph, states = self.recorded[columns]
        graph.replay()
        return states

    def _step(self) -> Tensor:
        """Fixed tensors in, fixed tensors out, and no question to the device on the way."""
        length = self.shared.length
        columns = torch.arange(self.shared.columns, device=length.device)
        least = torch.finfo(self.policy.dtype).min
        mask = torch.zeros(len(length), len(columns), dtype=self.policy.dtype, device=length.device)
        mask.masked_fill_(columns[None] > length[:, None], least)
        states = self.policy.hidden(
            self.tokens[:, None],
            attention_mask=mask[:, None, None],
            position_ids=self.position,
            cache=self.cache,
        )
        # who has ended stands still at the last column until it leaves
        length.add_(1).clamp_(max=self.capacity - 1)
        return states[:, -1]

    def _record(self) -> tuple[Any, Tensor]:
        """(graph of a step at the columns of now, the states it writes). Raises `SageBenchError`
        where CUDA cannot record it."""
        length = self.shared.length.clone()
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        self.shared.length.copy_(length)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                states = self._step()
        except torch.OutOfMemoryError:
            raise  # half of the rows may fit
        except RuntimeError as error:
            raise SageBenchError(
                f"a step of this model cannot be recorded: {str(error).splitlines()[0]}",
                where="engine.cuda_graphs",
                remedy="set it to false: kernels are then started one by one",
            ) from error
        return graph, states


def rounded_up(columns: int) -> int:
    """The next whole number of `COLUMNS`.

    >>> rounded_up(1), rounded_up(256), rounded_up(257)
    (256, 256, 512)
    """
    return -(-columns // COLUMNS) * COLUMNS
