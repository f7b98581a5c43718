"""What k of a question's n samples are worth: pass@k and maj@k, both as expectations over all
subsets of k samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


def pass_at_k(right: ArrayLike, n: int, k: int) -> NDArray[np.float64]:
    """Unbiased pass@k of each question: 1 - C(n - c, k) / C(n, k), the chance that k of its n
    samples hold a right one.

    right: (N,) number c of right samples. Returns (N,), all NaN where k > n: with fewer than k
    samples there is no estimate, and taking k = n instead would be another quantity. Raises
    `ValueError` for k < 1.

    >>> pass_at_k([0, 1, 4], 4, 2).tolist(), pass_at_k([0, 1], 4, 5).tolist()
    ([0.0, 0.5, 1.0], [nan, nan])
    """
    c = np.asarray(right)
    if k < 1:
        raise ValueError(f"pass@{k}: k is at least 1")
    if k > n:
        return np.full(c.shape, nan)
    return np.where(c == 0, 0.0, stats.hypergeom.sf(0, n, c, k))


def maj_at_k(right: int, wrong: Sequence[int], blank: int, k: int) -> float:
    """Expected score of a majority vote among k of a question's samples, NaN where there are fewer
    than k.

    right: samples with the right answer. wrong: sizes of the classes of equal wrong answers. blank:
    samples without an answer, which are drawn like others but have no vote. The largest class wins;
    a tie counts its right share, which is what breaking it at random gives; k blanks score 0.
    Exact: all subsets of k are counted, none is sampled.

    >>> maj_at_k(2, [2], 0, 4), maj_at_k(3, [1, 1], 0, 5), maj_at_k(1, [], 3, 4), maj_at_k(2, [1], 0, 4)
    (0.5, 1.0, 1.0, nan)
    >>> maj_at_k(2, [1], 0, 1) == 2 / 3  # one vote: avg
    True
    """
    if k < 1:
        raise ValueError(f"maj@{k}: k is at least 1")
    if right + sum(wrong) + blank < k:
        return nan
    return _maj(right, tuple(sorted(w for w in wrong if w)), blank, k)


@lru_cache(maxsize=65536)
def _maj(right: int, wrong: tuple[int, ...], blank: int, k: int) -> float:
    """Sum over the votes m of the right answer, and over the number t of wrong classes that also
    have m."""
    ways = 0.0
    for m in range(1, min(right, k) + 1):
        rest = k - m  # drawn from wrong classes and blanks
        count = np.zeros((rest + 1, rest // m + 2))  # [samples drawn, classes with exactly m]
        for a in range(min(blank, rest) + 1):
            count[a, 0] = comb(blank, a)
        for size in wrong:
            new = count.copy()  # nothing of this class
            for a in range(1, min(size, m - 1, rest) + 1):
                new[a:] += comb(size, a) * count[: rest + 1 - a]
            if m <= min(size, rest):
                new[m:, 1:] += comb(size, m) * count[: rest + 1 - m, :-1]
            count = new
        ways += comb(right, m) * float((count[rest] / (1 + np.arange(count.shape[1]))).sum())
    return ways / comb(right + sum(wrong) + blank, k)
