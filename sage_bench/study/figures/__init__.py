"""The figures and tables of a study that mirror those of the SAGE paper (arXiv 2602.03143).

Made from the runs of a folder, however they lie in it: table 1 (methods), table 2 (prompts without
a signal), table 3 (relative cost), figure 3 (whose hints, of which level), figure 5 (ablations),
figure 6 (hint use over the steps). Over training seeds: the median, with the lowest and the
highest.
"""

from sage_bench.study.figures.write import write_figures

__all__ = ["write_figures"]
