"""What backends say of themselves: complete, true to the specifications, and the same in `ls`, the
dry run and docs/methods.md."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sage_bench.config.schema import RunConfig
from sage_bench.judges import describe as page
from sage_bench.judges.registry import JUDGES
from sage_bench.methods import describe
from sage_bench.methods.base import make_config
from sage_bench.methods.objective import Objective
from sage_bench.methods.registry import BACKENDS
from sage_bench.utils.registry import load_file

ROOT = Path(__file__).resolve().parents[2]
OURS = sorted(
    name for name, cls in BACKENDS.items() if cls.__module__.startswith("sage_bench.backends")
)


def test_docs_methods_is_current():
    now = page.markdown()
    assert (ROOT / "docs/methods.md").read_text(encoding="utf-8") == now, (
        f"docs/methods.md is out of date: run `{describe.COMMAND} > docs/methods.md`"
    )


def test_the_command_that_renews_the_document_prints_it():
    words = describe.COMMAND.split()[1:]
    done = subprocess.run(
        [sys.executable, "-m", "sage_bench", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert done.stdout == page.markdown()
    wrong = subprocess.run(
        [sys.executable, "-m", "sage_bench", "ls", "tasks", "--markdown"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert wrong.returncode == 2
    assert "no document of tasks" in wrong.stderr


def test_the_document_has_every_fact():
    text = page.markdown()
    for row in (describe.backend(name) for name in OURS):
        section = re.search(rf"\n## {row['name']}\n(.*?)(?=\n## |\Z)", text, re.DOTALL)[1]
        assert row["about"] in section
        assert row["source"] in section
        assert all(n in section for n in [*row["notes"], *row["columns"], *row["needs"]])
        assert all(f"`{k}={describe.shown(v)}`" in section for k, v in row["objective"].items())
        if row["builds_on"]:
            assert f"(#{row['builds_on']})" in section
            assert row["builds_on"] in OURS
    for judge in JUDGES.names():
        assert f"| `{judge}` | {describe.about(JUDGES.get(judge))}" in text


def test_verbose_listing_has_the_same_facts():
    done = subprocess.run(
        [sys.executable, "-m", "sage_bench", "ls", "backends", "--verbose"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    for row in (describe.backend(name) for name in OURS):
        assert all(
            fact in done.stdout
            for fact in [
                row["about"],
                row["source"],
                *row["notes"],
                *row["columns"],
                *(s["help"] for s in row["switches"]),
            ]
        )


@pytest.mark.parametrize("name", OURS)
def test_metadata_is_complete_and_consistent(name):
    row, config = describe.backend(name), BACKENDS.get(name).Config
    assert row["source"]
    assert row["about"].endswith(".")
    assert set(row["needs"]) <= {"sample", "score", "policy"}
    assert set(row["objective"]) <= set(Objective.model_fields)
    code = inspect.getsource(sys.modules[row["module"]]) + inspect.getsource(
        sys.modules["sage_bench.methods.base"]
    )
    for column in re.findall(r"`(\w+)`", " ".join(c.split(":")[0] for c in row["columns"])):
        assert re.search(rf"[\"'.]{column}\b", code), f"{name} says it reads `{column}`"
    by_code, by_paper = (
        make_config(BACKENDS.get(name), {"variant": "code"}),
        make_config(BACKENDS.get(name), {}),
    )
    for s in row["switches"]:
        assert s["help"]
        assert len(s["help"]) > 8
        assert s["values"]
        if "paper" in s:
            assert s["paper"] != s["code"]
            assert getattr(by_code, s["name"]) == s["code"]
            assert s["paper"] == describe.UNSTATED or getattr(by_paper, s["name"]) == s["paper"]
    assert {n for n in re.findall(r"`objective\.(\w+)=", " ".join(row["notes"]))} <= set(
        Objective.model_fields
    )
    assert {n for n in re.findall(r"`(\w+)=", " ".join(row["notes"]))} - {"replace_num"} <= set(
        config.model_fields
    )
    assert {n for n in re.findall(r"`train\.(\w+)`", " ".join(row["notes"]))} <= set(
        type(RunConfig().train).model_fields
    )


# What the specifications give as the implementation's defaults: docs/design/sage.md 2 and 8,
# docs/design/hint.md 10, docs/design/oar.md 5, docs/design/sgpo.md 2 to 4, docs/design/luffy.md 7,
# docs/design/scaf-grpo.md 6.
SPECIFIED = {
    "sage": {
        "levels": 3,
        "hint_source": "online",
        "on_all_fail": "last",
        "std_ddof": 0,
        "std_eps": 1e-6,
    },
    "sage_light": {"up_threshold": 0.35, "up_strict": True, "down_threshold": None},
    "hint": {"group_size": 8, "affinity_power": 1.0, "max_overlap": 0.3, "leak_check": True},
    "oar_p": {
        "outcome": "last",
        "quantile": 0.25,
        "boost": 1.0,
        "floor": 0.1,
        "preserve": True,
        "probe": "own",
    },
    "oar_g": {
        "outcome": "answer_mean",
        "noise": 1e-3,
        "quantile": 0.25,
        "boost": 1.0,
        "floor": 0.1,
        "preserve": True,
        "probe": "own",
    },
    "sgpo": {
        "reward": "b10_g0.5",
        "scope": "all_negative",
        "judge_share": 0.25,
        "votes": 1,
        "unit": "count",
        "max_steps": 200,
    },
    "luffy": {"group_size": 8, "use_std": False},
    "scaf_grpo": {
        "tiers": "paper12",
        "levels": 4,
        "exempt_share": 0.15,
        "train_prompt": "hinted",
        "replace": "random",
    },
}
BY_CODE = {
    "sage": {
        "hint_calls": "one",
        "hint_temperature": 0.0,
        "hint_attempts": 3,
        "std_ddof": 1,
        "hint_lead": "code",
    },
    "sage_light": {
        "up_threshold": 0.1,
        "up_strict": False,
        "down_threshold": 0.35,
        "hint_fallback": "last",
    },
    "hint": {"std_eps": 1e-4, "std_ddof": 1},
    "scaf_grpo": {
        "tiers": "released8",
        "exempt_steps": 50,
        "search": "parallel",
        "replace": "first",
    },
}


@pytest.mark.parametrize(("variant", "wanted"), [("paper", SPECIFIED), ("code", BY_CODE)])
def test_defaults_are_those_of_the_specifications(variant, wanted):
    for name, values in wanted.items():
        config = make_config(BACKENDS.get(name), {"variant": variant})
        assert {k: getattr(config, k) for k in values} == values, name


def test_sources_name_what_the_specifications_name():
    """Repository commits and papers, letter by letter."""
    pages = (ROOT / "docs" / "design").glob("*.md")
    specs = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for name in ("sage", "sage_light", "hint", "oar_p", "oar_g", "sgpo", "luffy", "scaf_grpo"):
        source = describe.backend(name)["source"]
        commits = re.findall(r"([\w-]+/[\w-]+) @ ?([0-9a-f]{7})", source)
        assert all(repo in specs and commit in specs for repo, commit in commits)
        assert commits or name in {"hint", "oar_p", "oar_g", "sgpo"}
        assert re.search(r"arXiv (\d{4}\.\d{5})", source)[1] in specs


def test_a_backend_of_ones_own_is_described_by_its_own_words():
    load_file(ROOT / "examples/last_hint.py")
    row = describe.backend("last_hint")
    assert row["builds_on"] == "grpo"
    assert row["source"] == ""
    assert row["notes"] == []
    assert "strongest hint" in row["about"]
    assert "last_hint" in page.markdown(all_registered=True)
    assert "last_hint" not in page.markdown()
