"""What k of a question's n samples are worth: pass@k and maj@k.

Both are expectations over all subsets of k samples, computed exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


def pass_at_k(right: ArrayLike, n: int, k: int) -> NDArray[np.float64]:
    """Unbiased pass@k of each question: the chance that k of its n samples hold a right one.

    1 - C(n - c, k) / C(n, k) (Chen et al., arXiv 2107.03374, equation 1).

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
    found: NDArray[np.float64] = _pass_at_k(n, k)[c.astype(int)]
    return found


@lru_cache(maxsize=4096)
def _pass_at_k(n: int, k: int) -> NDArray[np.float64]:
    """For every number of right samples from 0 to n, (n + 1,): reports ask for the same n and k
    again and again."""
    c = np.arange(n + 1)
    return np.where(c == 0, 0.0, stats.hypergeom.sf(0, n, c, k))


def maj_at_k(right: int, wrong: Sequence[int], blank: int, k: int) -> float:
    """Expected score of a majority vote among k of a question's samples.

    right: samples with the right answer. wrong: sizes of the classes of equal wrong answers. blank:
    samples without an answer, which are drawn like others but have no vote. The largest class wins;
    a tie counts its right share, which is what breaking it at random gives; k blanks score 0.
    NaN where there are fewer than k samples. Raises `ValueError` for k < 1.

    >>> maj_at_k(2, [2], 0, 4), maj_at_k(3, [1, 1], 0, 5), maj_at_k(1, [], 3, 4)
    (0.5, 1.0, 1.0)
    >>> maj_at_k(2, [1], 0, 4)
    nan
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
    """The subsets in which the right answer wins or ties, counted by its votes m.

    Kept between calls: the questions of a benchmark repeat few shapes of votes.
    """
    ways = 0.0
    for m in range(1, min(right, k) + 1):
        rest = k - m  # drawn from wrong classes and blanks
        by_ties = _ways_without_a_larger_class(m, rest, wrong, blank)
        tied = 1 + np.arange(len(by_ties))  # the right class and t wrong ones share the vote
        ways += comb(right, m) * float((by_ties / tied).sum())
    return ways / comb(right + sum(wrong) + blank, k)


def _ways_without_a_larger_class(
    m: int, rest: int, wrong: tuple[int, ...], blank: int
) -> NDArray[np.float64]:
    """Ways to draw `rest` samples so that no wrong class has more than m votes.

    Returns (T,), by the number t of wrong classes that have exactly m.
    """
    count = np.zeros((rest + 1, rest // m + 2))  # [samples drawn so far, classes with exactly m]
    for a in range(min(blank, rest) + 1):
        count[a, 0] = comb(blank, a)
    for size in wrong:
        new = count.copy()  # nothing of this class
        for a in range(1, min(size, m - 1, rest) + 1):
            new[a:] += comb(size, a) * count[: rest + 1 - a]
        if m <= min(size, rest):
            new[m:, 1:] += comb(size, m) * count[: rest + 1 - m, :-1]
        count = new
    return np.asarray(count[rest])
