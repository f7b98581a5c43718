"""Statistics that hold: clustered errors, pass@k, maj@k, averages, paired tests, training seeds.

Pure functions of arrays. The unit of resampling is the question: samples of one question are not
independent. `Scores` maps a benchmark to the score of each of its questions, (N,) in [0, 1]; the
order of questions is the same for all methods that are compared.

`means`: averages and their standard errors. `shares`: intervals of shares and averages. `samples`:
what k samples of a question are worth. `pairs`: two policies on the same questions. `seeds`: two
methods over their training seeds.
"""

from sage_bench.statistics.means import (
    Scores,
    clustered_se,
    macro,
    mean_se,
    sampling_se,
    t_interval,
)
from sage_bench.statistics.pairs import (
    DRAWS,
    Paired,
    bootstrap_interval,
    detectable,
    flip_tail,
    holm,
    paired,
    sign_flip_p,
    uneven_flip_p,
)
from sage_bench.statistics.samples import maj_at_k, pass_at_k
from sage_bench.statistics.seeds import (
    NO_CLAIM,
    Claim,
    OverSeeds,
    against_one,
    claim,
    over_seeds,
    paired_over_seeds,
)
from sage_bench.statistics.shares import accuracy_interval, macro_interval, share_interval, wilson

__all__ = [
    "DRAWS",
    "NO_CLAIM",
    "Claim",
    "OverSeeds",
    "Paired",
    "Scores",
    "accuracy_interval",
    "against_one",
    "bootstrap_interval",
    "claim",
    "clustered_se",
    "detectable",
    "flip_tail",
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
    "uneven_flip_p",
    "wilson",
]
