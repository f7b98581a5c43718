"""OAR and HINT could have come from outside: lifted out of the tree and installed as somebody
else's package, they end in the same weights, bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sage_bench.data.tiny_world import problems
from sage_bench.utils.files import read_jsonl

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
LIFTED = {"oar": ("oar_p:OARP", "oar_g:OARG"), "hint": ("hint:HINT",)}
NAMES = ("oar_p", "oar_g", "hint")

TRAIN = """
import sys
from pathlib import Path
from sage_bench.api.settings import training_config
from sage_bench.training import loop, setup

out, data = Path(sys.argv[1]), sys.argv[2]
for backend in sys.argv[3:]:
    words = [
        "train.steps=3", "train.prompts_per_step=4", "train.updates_per_step=2", "optim.lr=1e-3",
        "optim.warmup_steps=0",
        "method.group_size=4", "validation.source=null", "log.tensorboard=false", "log.kl_rows=0",
    ]
    resolved = training_config(
        backend=backend, model="tiny-llama", data=data, engine=None, configs=[], overrides=words,
        backend_files=[],
    )
    loop.train(setup.build(resolved, out / backend, quiet=True))
"""


def lift(folder: Path) -> Path:
    """OAR and HINT as the package `foreign_methods` with entry points, as an installer leaves it.
    Returns the folder for the path."""
    package = folder / "site" / "foreign_methods"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Methods of somebody else."""\n')
    for name in LIFTED:
        shutil.copytree(
            ROOT / "backends" / name, package / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in package.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for name in LIFTED:
            text = text.replace(f"sage_bench.backends.{name}", f"foreign_methods.{name}")
        file.write_text(text, encoding="utf-8")
    about = folder / "site" / "foreign_methods-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-methods\nVersion: 1.0\n")
    points = [
        f"{point.partition(':')[0]} = foreign_methods.{name}:{point.partition(':')[2]}"
        for name, entries in LIFTED.items()
        for point in entries
    ]
    (about / "entry_points.txt").write_text("\n".join(["[sage_bench.backends]", *points, ""]))
    return folder / "site"


def without_lifted(folder: Path) -> Path:
    """The harness and all other backends, by links. Returns the folder for the path."""
    harness = folder / "harness" / "sage_bench"
    (harness / "backends").mkdir(parents=True)
    for here, there, hidden in (
        (ROOT / "sage_bench", harness, {"backends", "__pycache__"}),
        (ROOT / "backends", harness / "backends", {*LIFTED, "__pycache__"}),
    ):
        for entry in here.iterdir():
            if entry.name not in hidden:
                (there / entry.name).symlink_to(entry.resolve())
    return folder / "harness"


def train(path: list[Path], out: Path, data: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    words = [sys.executable, "-c", TRAIN, str(out), str(data), *NAMES]
    done = subprocess.run(
        words, env=environment, cwd=out.parent, capture_output=True, text=True, timeout=540
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(folder of the runs with ours, folder of the runs with the foreign package)."""
    folder = tmp_path_factory.mktemp("foreign")
    data = folder / "mixed.jsonl"  # half of them easy, so that groups have right and wrong answers
    chosen = [*problems("tiny_short")[:6], *problems("tiny")[:6]]
    rows = [
        {"uid": p.uid, "question": p.question, "answer": p.answer, "solution": p.solution}
        | dict(p.extra)
        for p in chosen
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train([ROOT], folder / "ours", data)
    train([without_lifted(folder), lift(folder)], folder / "theirs", data)
    return folder / "ours", folder / "theirs"


def digest(run: Path) -> str:
    weights = run / "checkpoints" / "step_000003" / "model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_they_end_in_the_same_weights(name, trained):
    ours, theirs = trained
    assert digest(ours / name) == digest(theirs / name)


def test_what_is_compared_is_not_the_start_and_not_one_method_thrice(trained):
    ours, _ = trained
    start = ours / "oar_p" / "checkpoints" / "step_000000" / "model.safetensors"
    started = hashlib.sha256(start.read_bytes()).hexdigest()
    assert len({started, *(digest(ours / name) for name in NAMES)}) == 4


@pytest.mark.parametrize("name", NAMES)
def test_the_foreign_ones_came_through_the_entry_point(name, trained):
    place = json.loads((trained[1] / name / "manifest.json").read_text())["backend_place"]
    assert place.startswith("foreign_methods.")
    assert "entry point of foreign-methods" in place


@pytest.mark.parametrize("name", NAMES)
def test_they_log_the_same_numbers(name, trained):
    def numbers(run: Path) -> list[dict]:
        rows = list(read_jsonl(run / "metrics.jsonl"))
        return [{k: v for k, v in r.items() if not k.startswith("seconds/")} for r in rows]

    ours, theirs = (numbers(folder / name) for folder in trained)
    assert ours == theirs
    assert any("learner/affinity" in row for row in ours)


@pytest.mark.parametrize("name", ["oar_p", "oar_g"])
def test_they_show_the_same_token_weights(name, trained):
    ours, theirs = ((folder / name / "completions.jsonl").read_bytes() for folder in trained)
    assert ours == theirs
    assert b'"weights"' in ours


def test_hinted_groups_were_weighed(trained):
    """Otherwise the rows' hook would have had no say in what is compared."""
    rows = list(read_jsonl(trained[0] / "hint" / "metrics.jsonl"))
    assert any(row["hinted"] > 0 for row in rows)
    assert min(row.get("learner/affinity", 1.0) for row in rows) < 0.999
