"""`sage-bench compare`: output, exit codes, wrong input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import draw, write_run

from sage_bench.utils.errors import UsageError

WEAK = {"short": 0.4, "long": 0.2}
STRONG = {"short": 0.7, "long": 0.5}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", "compare", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "160"},
        timeout=300,
    )


@pytest.fixture
def two(tmp_path) -> list[Path]:
    return [
        write_run(tmp_path / "grpo/aa", "grpo", draw(1, WEAK)),
        write_run(tmp_path / "sage/bb", "sage", draw(2, STRONG), shuffle=3),
    ]


@pytest.mark.slow
def test_the_command_prints_a_table_or_json_and_its_exit_code_says_how_it_went(tmp_path, two):
    done = run(*map(str, two))
    assert done.returncode == 0 and "| sage @40 − grpo @40, avg | 80 |" in done.stdout, done.stderr
    told = json.loads(
        run(str(tmp_path), "--metric", "pass@4", "--json", "--against", "sage @40").stdout
    )
    assert told["metric"] == "pass@4"
    assert {r["b"] for r in told["rows"]} == {"sage @40"}
    assert told["partial"] is False
    write_run(tmp_path / "cut", "cut", draw(3, WEAK), drop=1)
    partial = run(str(two[0]), str(tmp_path / "cut"))
    assert partial.returncode == 3
    assert "partial 159/160" in partial.stdout

    wrong = run(str(two[0]), str(two[1]), "--allow", "samplng")
    assert wrong.returncode == 2
    assert "did you mean `sampling`" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (["grpo"], {}, "only one run"),
        (["grpo", "grpo"], {}, "only one run"),
        (["grpo", "nowhere"], {}, "no evaluation here"),
        (["grpo", "other"], {}, "share no benchmark"),
        (["grpo", "hot"], {}, r"differ in sampling \(short: temperature 0.6 and 1.0"),
        (["grpo", "sage"], {"metric": "pass@5"}, "needs 5 samples"),
        (["grpo", "sage"], {"seeds": True}, "training seeds"),
        (["grpo", "sage"], {"metric": "best"}, "unknown metric"),
    ],
)
def test_wrong_comparisons_are_usage_errors(tmp_path, two, names, options, said):
    from sage_bench.cli.compare import compare

    write_run(tmp_path / "other", "other", draw(1, {"gpqa": 0.5}))
    write_run(tmp_path / "hot", "hot", draw(4, WEAK), how={"short": {"temperature": 1.0}})
    with pytest.raises(UsageError, match=said):
        compare([tmp_path / n for n in names], **options)
