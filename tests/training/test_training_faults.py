"""Full disks, read-only disks and kills at every write of a training run."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest
from faults import CODES, Faults, Killed, faults

from sage_bench.api.settings import training_config
from sage_bench.training import loop, setup
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import read_jsonl

WORDS = [
    # the first steps of the preset's warm-up hardly move the weights
    "optim.warmup_steps=0",
    "train.steps=2",
    "train.save_every=1",
    "train.keep=2",
    "train.prompts_per_step=2",
    "sampling.max_tokens=16",
    "validation.limit=2",
    "validation.samples=1",
    "log.tensorboard=false",
]
KINDS = ("full", "read-only", "kill")


def train(folder: Path, *more: str) -> Path:
    resolved = training_config(
        backend="sft",
        model="tiny-llama",
        data="tiny",
        engine=None,
        configs=[],
        overrides=[*WORDS, *more],
        backend_files=[],
    )
    return loop.train(setup.build(resolved, folder, quiet=True))


def outcome(folder: Path) -> dict[str, object]:
    """What two runs of one configuration have in common, bit for bit."""
    last = folder / "checkpoints" / "step_000002"
    found: dict[str, object] = {
        name: (last / name).read_bytes()
        for name in ("model.safetensors", "optimizer.safetensors", "method.json")
    }
    for log in ("ledger", "metrics", "validation"):
        found[log] = [
            {k: v for k, v in row.items() if not k.startswith("seconds")}
            for row in read_jsonl(folder / f"{log}.jsonl")
        ]
    return found


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> tuple[dict[str, object], list[int]]:
    """(outcome of an undisturbed run, its events: one of each place in the code)."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    with faults(folder) as seen:
        train(folder)
    places: dict[str, int] = {}
    for number, label in enumerate(seen.events):
        places[re.sub(r"\d{6}", "N", label)] = number  # the last one: most has happened by then
    return outcome(folder), sorted(places.values())


def fails(folder: Path, kind: str, at: int) -> tuple[Faults, BaseException | None]:
    """A run with a fault at event `at`, and what ended it."""
    with faults(folder, kind, at) as broken:
        try:
            train(folder)
        except (Killed, SageBenchError) as error:
            return broken, error
    return broken, None


def one_event(tmp_path: Path, straight, kind: str, at: int) -> None:
    folder = tmp_path / f"{kind}-{at}"
    broken, error = fails(folder, kind, at)
    label = broken.failed[0] if broken.failed else "nothing"
    if broken.failed and error is not None and kind != "kill":
        assert isinstance(error, SageBenchError), label
        assert str(folder) in str(error.where), label
        reason = {"full": "No space left on device", "read-only": "Read-only file system"}[kind]
        assert reason in str(error), label
        assert "same command again" in str(error.remedy) or "another --out" in str(error.remedy)
    assert not broken.failed or error is not None, f"{label}: nobody noticed"
    train(folder)
    assert outcome(folder) == straight[0], label


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_some_writes_is_one_paragraph_and_the_same_command_ends_equal(
    kind, tmp_path, straight
):
    events = straight[1]
    offset = KINDS.index(kind) * 5
    for at in events[offset::15]:
        one_event(tmp_path, straight, kind, at)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_every_write(kind, tmp_path, straight):
    for at in straight[1]:
        one_event(tmp_path, straight, kind, at)


def test_the_faults_are_real(tmp_path):
    """A harness that injects nothing would pass everything."""
    with faults(tmp_path, "full", 0) as broken, pytest.raises(OSError, match="No space") as error:
        (tmp_path / "a").write_text("text")
    assert error.value.errno == CODES["full"]
    assert broken.failed == ["open a"]
    with faults(tmp_path, "kill", 1), pytest.raises(Killed):
        (tmp_path / "b").write_text("text")
    assert (tmp_path / "b").read_text() == "te"


def test_a_limit_of_the_system_on_file_sizes_names_the_checkpoint(tmp_path):
    """The system itself refuses the write, inside safetensors, where no stand-in of ours is."""
    train(tmp_path, "train.steps=1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        with pytest.raises(SageBenchError, match="step_000002: cannot be written") as error:
            train(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in str(error.value)
    assert train(tmp_path).name == "step_000002"


def test_a_tensorboard_that_cannot_be_written_is_named(tmp_path):
    with faults(tmp_path) as seen:
        train(tmp_path / "straight", "log.tensorboard=true", "train.steps=1")
    at = next(i for i, label in enumerate(seen.events) if "tensorboard" in label)
    with (
        faults(tmp_path, "full", at),
        pytest.raises(SageBenchError, match="No space left") as error,
    ):
        train(tmp_path / "full", "log.tensorboard=true", "train.steps=1")
    assert "tensorboard: cannot be written" in str(error.value)
    assert train(tmp_path / "full", "log.tensorboard=true", "train.steps=1").name == "step_000001"
