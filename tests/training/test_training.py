"""Training runs for real: the packaged policy, a few steps, killed, resumed, fed with bad data."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sage_bench.api.settings import training_config
from sage_bench.training import loop, setup
from sage_bench.training.batches import batch_of
from sage_bench.training.no_signal import no_signal_share
from sage_bench.utils.errors import SageBenchError, UsageError
from sage_bench.utils.files import read_jsonl

SMALL = [
    # the first steps of the preset's warm-up hardly move the weights
    "optim.warmup_steps=0",
    "train.prompts_per_step=4",
    "method.group_size=4",
    "sampling.max_tokens=48",
    "sampling.hint_max_tokens=160",
    "validation.limit=4",
    "validation.every=2",
]


def config(
    backend: str = "sage",
    *words: str,
    model: str = "tiny-llama",
    data: str = "tiny",
    files: list[str] | None = None,
):
    return training_config(
        backend=backend,
        model=model,
        data=data,
        engine=None,
        configs=[],
        overrides=[*SMALL, *words],
        backend_files=files or [],
    )


def train(folder: Path, backend: str = "sage", *words: str, **more) -> Path:
    return loop.train(setup.build(config(backend, *words, **more), folder, quiet=True))


def weights(checkpoint: Path) -> str:
    return hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()


def command(folder: Path, backend: str, *words: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "sage_bench",
        "train",
        "--backend",
        backend,
        "--model",
        "tiny-llama",
        "--data",
        "tiny",
        "--out",
        str(folder),
        "-q",
        *SMALL,
        *words,
    ]


def timeless(file: Path) -> list[dict]:
    """Rows of a log without the seconds, which differ from run to run."""
    return [
        {k: v for k, v in row.items() if not k.startswith("seconds")} for row in read_jsonl(file)
    ]


def test_a_checkpoint_is_a_folder_transformers_loads(tmp_path):
    last = train(tmp_path, "sft", "train.steps=2", "train.save_every=1")
    assert [p.name for p in sorted((tmp_path / "checkpoints").iterdir())] == [
        "step_000000",
        "step_000001",
        "step_000002",
    ]
    model = AutoModelForCausalLM.from_pretrained(last)
    tokenizer = AutoTokenizer.from_pretrained(last)
    assert model.dtype == torch.float32
    assert tokenizer.chat_template
    assert json.loads((last / "sage_bench.json").read_text())["step"] == 2
    assert weights(tmp_path / "checkpoints/step_000000") != weights(last)
    again = train(tmp_path, "sft", "train.steps=2", "train.save_every=1")  # nothing left to do
    assert again == last


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    a = train(tmp_path / "a", "sage", "train.steps=2", "train.seed=1")
    b = train(tmp_path / "b", "sage", "train.steps=2", "train.seed=1")
    c = train(tmp_path / "c", "sage", "train.steps=2", "train.seed=2")
    assert weights(a) == weights(b)
    assert weights(a) != weights(c)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sage", "sage_light"])
def test_kill_nine_at_any_moment_and_run_the_same_command_again(backend, tmp_path):
    words = ["train.steps=6", "train.save_every=2"]
    straight = train(tmp_path / "straight", backend, *words)
    killed = tmp_path / "killed"
    # once before the second checkpoint and once in the middle of a later window
    for after in (1, 4):
        process = subprocess.Popen(command(killed, backend, *words), stderr=subprocess.PIPE)
        deadline = time.monotonic() + 240
        while (
            process.poll() is None
            and time.monotonic() < deadline
            and len(list(read_jsonl(killed / "metrics.jsonl"))) < after
        ):
            time.sleep(0.02)
        assert process.poll() is None, process.stderr.read().decode()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
    assert subprocess.run(command(killed, backend, *words), timeout=300).returncode == 0
    for file in ("model.safetensors", "optimizer.safetensors", "method.json"):
        assert (straight / file).read_bytes() == (
            killed / "checkpoints" / straight.name / file
        ).read_bytes(), file
    for name in ("ledger", "metrics", "validation"):
        assert timeless(tmp_path / "straight" / f"{name}.jsonl") == timeless(
            killed / f"{name}.jsonl"
        ), name


@pytest.mark.slow
def test_a_longer_run_goes_on_from_the_shorter_one(tmp_path):
    straight = train(tmp_path / "a", "grpo", "train.steps=4")
    train(tmp_path / "b", "grpo", "train.steps=2")
    assert weights(straight) == weights(train(tmp_path / "b", "grpo", "train.steps=4"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    ["dapo", "dr_grpo", "hint", "luffy", "oar_g", "oar_p", "random_reward", "scaf_grpo", "sgpo"],
)
def test_every_method_trains_the_packaged_policy_and_goes_on_where_it_stopped(
    backend, tmp_path, monkeypatch
):
    words = ["train.steps=3", "train.save_every=1", "method.group_size=8"]
    if backend == "scaf_grpo":
        words.append("method.exempt_share=0")
    last = train(tmp_path / "straight", backend, *words)
    first = weights(tmp_path / "straight/checkpoints/step_000000")
    rows = list(read_jsonl(tmp_path / "straight/ledger.jsonl"))
    metrics = list(read_jsonl(tmp_path / "straight/metrics.jsonl"))
    assert len(metrics) == 3
    assert sum(r["rollouts"] for r in rows) == sum(m["rollouts"] for m in metrics) >= 3 * 4 * 7
    assert (weights(last) != first) == any(m.get("learner/trained_rows", 0) > 0 for m in metrics)
    if backend in {"luffy", "random_reward"}:
        assert all(m["learner/trained_rows"] > 0 for m in metrics)
    if backend in {"hint", "scaf_grpo"}:
        assert any(r["level"] > 0 for r in rows)
    whole = loop.one_step

    def dies(session):
        if session.state.step == 2:
            raise MemoryError("in the middle of step 2")
        return whole(session)

    monkeypatch.setattr(loop, "one_step", dies)
    with pytest.raises(MemoryError):
        train(tmp_path / "died", backend, *words)
    monkeypatch.undo()
    again = train(tmp_path / "died", backend, *words)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (again / name).read_bytes() == (last / name).read_bytes(), name


def test_a_folder_holds_one_run(tmp_path):
    train(tmp_path, "grpo", "train.steps=1")
    with pytest.raises(UsageError, match=r"optim\.lr: 0\.00015 then, 0\.001 now"):
        setup.build(config("grpo", "train.steps=1", "optim.lr=1e-3"), tmp_path)


def test_two_writers_are_refused(tmp_path):
    from sage_bench.utils.files import locked

    run = setup.build(config("grpo", "train.steps=1"), tmp_path, quiet=True)
    code = (
        f"import fcntl, sys, time; f = open({str(tmp_path / '.lock')!r}, 'a+'); fcntl.flock(f,"
        " fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(SageBenchError, match="another process"), locked(run.folder):
            pass
        other.kill()


@pytest.mark.slow
def test_the_ledger_accounts_for_every_group(tmp_path):
    train(tmp_path, "sage", "train.steps=2")
    rows = list(read_jsonl(tmp_path / "ledger.jsonl"))
    metrics = list(read_jsonl(tmp_path / "metrics.jsonl"))
    assert len(rows) == 8
    assert [m["step"] for m in metrics] == [0, 1]
    for row in rows:
        assert row["outcome"] in {"mixed", "rescued", "dead_wrong", "dead_right"}
        assert row["rollouts"] == 4 * len(row["trail"])
        no_signal = row["outcome"].startswith("dead") or row["reward"] in (0.0, 1.0)
        assert (row["trained_tokens"] == 0) == no_signal
        assert sum(row["status"].values()) == 4
    for step, m in enumerate(metrics):
        mine = [r for r in rows if r["step"] == step]
        assert m["dead_wrong"] + m["dead_right"] + m["rescued"] + m["mixed"] == pytest.approx(1.0)
        assert m["rollouts"] == sum(r["rollouts"] for r in mine)
        assert m["trained_tokens"] == m["learner/trained_tokens"]
        assert m["learner/logp_gap"] < 1e-3  # sampler and learner agree on the weights
    assert {
        "plain_reward",
        "length",
        "learner/entropy",
        "learner/kl_start",
        "learner/clip_fraction",
        "truncated",
        "hint_failures",
        "tokens",
    } <= set(metrics[0])
    assert 0 <= no_signal_share(rows) <= 1
    assert (tmp_path / "tensorboard").is_dir()
    assert [v["step"] for v in read_jsonl(tmp_path / "validation.jsonl")] == [0, 2]


def test_bad_rows_are_set_aside_with_their_reason(tmp_path):
    good = [
        {
            "id": i,
            "question": f"{i}+1",
            "answer": str((i + 1) % 10),
            "solution": f"{i}+1={(i + 1) % 10}",
        }
        for i in range(8)
    ]
    bad = [
        {"id": "a", "question": "1+1"},
        {"id": "b", "question": "1+1", "answer": ""},
        {"id": "c", "question": "", "answer": "2"},
        {"id": 3, "question": "again", "answer": "2"},
        {"id": "d", "question": "1+1", "answer": "\\frac{1}{"},
        {"id": "e", "question": "1+" * 300, "answer": "2"},
    ]
    file = tmp_path / "data.jsonl"
    file.write_text(
        "\n".join(map(json.dumps, good[:4]))
        + "\nnot json\n[1]\n"
        + "\n".join(map(json.dumps, bad + good[4:]))
        + "\n"
    )
    train(tmp_path / "run", "grpo", "train.steps=1", data=str(file))
    aside = [
        (q["place"].split(":")[1], q["reason"])
        for q in read_jsonl(tmp_path / "run/quarantine/train.jsonl")
    ]
    assert aside == [
        ("5", "not JSON (Expecting value)"),
        ("6", "not a JSON object"),
        ("7", "no answer"),
        ("8", "no answer"),
        ("9", "no question"),
        ("10", "its uid occurs twice"),
        ("11", "the answer's braces do not balance"),
        ("12", "its prompt is over the limit of tokens"),
    ]
    assert json.loads((tmp_path / "run/manifest.json").read_text())["data"]["quarantined"] == 8


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "data.jsonl").write_text('{"question": "1+1"}\n')
    with pytest.raises(SageBenchError, match=r"no usable row \(1 x no answer\)"):
        setup.build(config("grpo", data=str(tmp_path / "data.jsonl")), tmp_path / "run", quiet=True)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_other_file_types_are_read(suffix, tmp_path):
    import pandas as pd

    frame = pd.DataFrame(
        {"problem": [f"{i}+1" for i in range(5)], "answer": [str(i + 1) for i in range(5)]}
    )
    file = tmp_path / f"data{suffix}"
    {
        ".csv": lambda: frame.to_csv(file, index=False),
        ".json": lambda: file.write_text(frame.to_json(orient="records")),
        ".parquet": lambda: frame.to_parquet(file),
    }[suffix]()
    run = setup.build(config("grpo", data=str(file)), tmp_path / "run", quiet=True)
    assert [(p.question, p.answer) for p in run.data.problems][:2] == [("0+1", "1"), ("1+1", "2")]


def test_a_model_without_chat_template_is_refused(tmp_path, packaged):
    model = AutoModelForCausalLM.from_pretrained(packaged)
    tokenizer = AutoTokenizer.from_pretrained(packaged)
    tokenizer.chat_template = None
    model.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    with pytest.raises(SageBenchError, match="no chat template"):
        setup.build(config("grpo", model=str(tmp_path / "m")), tmp_path / "run", quiet=True)


def test_a_context_that_is_too_small_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(UsageError, match="may take 1124 tokens, the model's context has 1024"):
        setup.build(
            config(
                "grpo",
                "sampling.max_prompt_tokens=1000",
                "sampling.max_tokens=124",
                "sampling.hint_max_tokens=8",
            ),
            tmp_path,
            quiet=True,
        )


@pytest.mark.slow
def test_a_nonfinite_loss_stops_the_run_and_leaves_the_last_checkpoint(tmp_path):
    done = subprocess.run(
        command(tmp_path, "sft", "train.steps=3", "train.save_every=1", "optim.lr=1e30"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Remedy: lower optim.lr" in done.stderr
    steps = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert steps
    assert all((tmp_path / "checkpoints" / s / "run.json").exists() for s in steps)
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "failed"


def test_a_method_of_ones_own_in_one_file(tmp_path):
    file = Path(__file__).parents[2] / "examples" / "last_hint.py"
    assert len(file.read_text().splitlines()) <= 30
    train(tmp_path, "last_hint", "train.steps=1", files=[str(file)])
    assert "last_hint.py" in json.loads((tmp_path / "manifest.json").read_text())["backend_place"]
    assert {r["level"] for r in read_jsonl(tmp_path / "ledger.jsonl")} <= {0, 3}


@pytest.mark.slow
def test_offline_hints_travel_with_the_checkpoint(tmp_path):
    last = train(tmp_path, "sage", "train.steps=1", "method.hint_source=offline", "data.limit=6")
    prepared = json.loads((last / "method.json").read_text())["prepared"]
    assert len(prepared) == 6
    assert all(len(v) == 1 for v in prepared.values())


def test_sft_learns_its_targets(tmp_path):
    train(tmp_path, "sft", "train.steps=8", "optim.lr=5e-4")
    losses = [m["learner/loss"] for m in read_jsonl(tmp_path / "metrics.jsonl")]
    assert losses[-1] < 0.8 * losses[0]


def test_each_pass_over_the_data_takes_every_problem_once_in_its_own_order():
    steps = [batch_of(range(12), s, 4, seed=5) for s in range(6)]
    assert sorted(sum(steps[:3], [])) == sorted(sum(steps[3:], [])) == list(range(12))
    assert steps[:3] != steps[3:]
