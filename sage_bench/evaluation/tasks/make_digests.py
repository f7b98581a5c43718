"""`python -m sage_bench.evaluation.tasks.make_digests FOLDER` prints the table of digests.

FOLDER holds files called like the benchmarks; the table is `benchmark_digests.jsonl`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sage_bench.evaluation.tasks.benchmarks import data_files, load
from sage_bench.evaluation.tasks.spec import task_files


def main(folder: Path) -> None:
    """Print the table for the files of a folder."""
    tasks = {name: file for name, file in task_files().items() if name.startswith("sb_")}
    given = data_files([str(folder)], tasks)
    for name in sorted(given):
        report = load(name, **tasks[name].values["metadata"], data=given).report
        entries = sorted(":".join(digest) for digest in report.digests.values())
        print(json.dumps({"benchmark": name, "questions": entries}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
