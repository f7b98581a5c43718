"""Statistics that hold: clustered errors, pass@k, maj@k, averages, paired tests, training seeds.

Pure functions of arrays. The unit of resampling is the question: samples of one question are not
independent. `Scores` maps a benchmark to the score of each of its questions, (N,) in [0, 1]; the
order of questions is the same for all methods that are compared.

`means`: averages, their standard errors and intervals. `samples`: what k samples of a question are
worth. `pairs`: A against B on the same questions. `seeds`: training seeds as a level of their own.
"""

from sage_bench.statistics.means import (
    Scores,
    clustered_se,
    macro,
    macro_interval,
    mean_se,
    sampling_se,
    t_interval,
)
from sage_bench.statistics.pairs import (
    DRAWS,
    Paired,
    bootstrap_interval,
    detectable,
    holm,
    paired,
    sign_flip_p,
)
from sage_bench.statistics.samples import maj_at_k, pass_at_k
from sage_bench.statistics.seeds import OverSeeds, over_seeds, paired_over_seeds
from sage_bench.statistics.shares import accuracy_interval, share_interval, wilson

__all__ = [
    "DRAWS",
    "OverSeeds",
    "Paired",
    "Scores",
    "accuracy_interval",
    "bootstrap_interval",
    "clustered_se",
    "detectable",
    "holm",
    "macro",
    "macro_interval",
    "maj_at_k",
    "mean_se",
    "over_seeds",
    "paired",
    "paired_over_seeds",
    "pass_at_k",
    "sampling_se",
    "share_interval",
    "sign_flip_p",
    "t_interval",
    "wilson",
]
