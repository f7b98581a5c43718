"""A key-value cache that grows in blocks instead of being copied at every token, and whose rows can
be dropped and joined by others."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import Cache, DynamicLayer


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types here
    """transformers' dynamic layer with room to grow: `update` writes into a buffer and returns
    views of it.

    Buffers are (rows, heads, capacity, head_dim); keys and values are views of the first `length`
    positions.
    """

    def __init__(self, keys: Tensor, values: Tensor, block: int = 64):
        super().__init__()
        self.block = block
        self.length = keys.shape[-2]
        self.dtype = keys.dtype
        self.device = keys.device
        self.is_initialized = True
        self._room = [self._with_room(keys), self._with_room(values)]
        self._show()

    def _with_room(self, x: Tensor) -> Tensor:
        capacity = (x.shape[-2] // self.block + 2) * self.block
        buffer = x.new_empty(*x.shape[:-2], capacity, x.shape[-1])
        buffer[..., : x.shape[-2], :] = x
        return buffer

    def _show(self) -> None:
        self.keys, self.values = (b[..., : self.length, :] for b in self._room)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        end = self.length + key_states.shape[-2]
        if end > self._room[0].shape[-2]:
            # grow by half: the copies of a long completion then cost a constant times its length
            self.block = max(self.block, (end - self.length + self.length // 2) // 2)
            self._room = [self._with_room(self.keys), self._with_room(self.values)]
        for buffer, new in zip(self._room, (key_states, value_states), strict=True):
            buffer[..., self.length : end, :] = new
        self.length = end
        self._show()
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        self.keep(indices)

    def keep(self, rows: Tensor, unused: int = 0) -> None:
        """Only these rows, (K,) int64, without their first positions that none of them uses."""
        self._room = [b[..., unused:, :].index_select(0, rows) for b in self._room]
        self.length -= unused
        self._show()

    def join(self, keys: Tensor, values: Tensor) -> None:
        """Rows behind those there are, (R', heads, T, head_dim). All end in the same position:
        zeros lie before the shorter ones, and who reads has to mask them."""
        width = max(self.length, keys.shape[-2])
        self._room = [
            self._with_room(torch.cat([padded_left(x, width) for x in pair]))
            for pair in ((self.keys, keys), (self.values, values))
        ]
        self.length = width
        self._show()


def padded_left(x: Tensor, width: int) -> Tensor:
    """x (..., T, D) with zeros before it, (..., width, D).

    >>> padded_left(torch.ones(2, 1), 3).tolist()
    [[0.0], [1.0], [1.0]]
    """
    return functional.pad(x, (0, 0, width - x.shape[-2], 0))


def repeat_rows(cache: Cache, rows: Tensor) -> Cache:
    """Turn the cache of P prompts into one of R rows, in place: row i continues prompt rows[i]
    ((R,) int64).

    Full-attention layers become `GrowingLayer`s; other kinds (sliding windows) keep their own
    class.
    """
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[i] = GrowingLayer(
                layer.keys.index_select(0, rows), layer.values.index_select(0, rows)
            )
        else:
            layer.batch_select_indices(rows)
    return cache


def copied(cache: Cache) -> Cache:
    """A cache with the same keys and values, whose rows can be chosen without the old one's."""
    new = copy.copy(cache)
    new.layers = [copy.copy(layer) for layer in cache.layers]
    return new


def branch(cache: Cache, rows: Tensor, length: int | None = None) -> Cache:
    """A new cache of R rows, row i a copy of row rows[i], cut to the first `length` positions; the
    old one stays as it is.

    Only for full-attention layers: a window cannot be cut at the end.
    """
    new = copied(cache)
    for layer in new.layers:
        layer.keys, layer.values = (
            x[..., :length, :].index_select(0, rows) for x in (layer.keys, layer.values)
        )
    return new


def join_rows(caches: Sequence[Cache]) -> Cache:
    """The rows of several caches, one after the other, in the first of them. Layer by layer, so
    that no more than one layer is there twice."""
    first = caches[0]
    for i, layer in enumerate(first.layers):
        own = [cache.layers[i] for cache in caches]
        layer.keys = torch.cat([part.keys for part in own])
        layer.values = torch.cat([part.values for part in own])
        for part in own[1:]:
            part.keys = part.values = None
    return first


def drop_rows(cache: Cache, keep: Tensor, unused: int = 0) -> None:
    """Keep only the given rows ((K,) int64), without their first positions that none of them uses
    (growing layers alone know of such)."""
    for layer in cache.layers:
        if unused:
            layer.keep(keep, unused)
        else:
            layer.batch_select_indices(keep)


__all__ = [
    "GrowingLayer",
    "branch",
    "copied",
    "drop_rows",
    "join_rows",
    "padded_left",
    "repeat_rows",
]
