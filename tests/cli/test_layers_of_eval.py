"""`eval` takes the same layers as `train`: files, environment, flags, `key=value`; each value knows
where it comes from."""

from __future__ import annotations

import json

import pytest
from program import run

YAML = """
model: {path: "fake:0.6"}
tasks: tiny_short:2
sampling: {seed: 1, limit: 3, temperature: 0.5}
data: {gold_corrections: off}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "eval.yaml").write_text(YAML)
    return tmp_path


def shown(*words, cwd, **env) -> dict[str, tuple[object, str]]:
    done = run("eval", *words, "--show-config", "--json", cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    return {key: (row["value"], row["origin"]) for key, row in json.loads(done.stdout).items()}


def test_every_layer_replaces_those_below_it(folder):
    found = shown(
        "--config",
        "eval.yaml",
        "-L",
        "5",
        "sampling.limit=6",
        cwd=folder,
        SAGE_BENCH_EVAL__SAMPLING__SEED="7",
        SAGE_BENCH_EVAL__SAMPLING__LIMIT="4",
    )
    assert found["sampling.temperature"] == (0.5, "eval.yaml")
    assert found["sampling.seed"] == (7, "environment")
    assert found["sampling.limit"] == (6, "command line")
    assert found["sampling.top_p"] == (None, "default")
    assert found["data.gold_corrections"] == ("off", "eval.yaml")


def test_flags_are_one_layer(folder):
    found = shown(
        "--config", "eval.yaml", "--offline", "--grader", "string", "-t", "tiny_long", cwd=folder
    )
    assert found["data.offline"] == (True, "command line")
    assert found["grader"] == ("string", "command line")
    assert found["tasks"] == (["tiny_long"], "command line")


def test_training_does_not_read_the_variables_of_eval(folder):
    done = run(
        "train",
        "--model",
        "tiny-llama",
        "--show-config",
        cwd=folder,
        SAGE_BENCH_EVAL__SAMPLING__SEED="7",
    )
    assert done.returncode == 0, done.stderr
    assert "sampling.seed" not in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "sampling: {seeed: 1}",
            "bad.yaml: sampling.seeed: unknown key; did you mean `sampling.seed`",
        ),
        ("seed: 1", "bad.yaml: seed: unknown key; did you mean `sampling.seed`"),
        ("sampling: {limit: yes}", "bad.yaml: sampling.limit: is true or false"),
        ("sampling: {temperature: .nan}", "bad.yaml: sampling.temperature: is not a finite number"),
        ("sampling: {top_p: 2}", "bad.yaml: sampling.top_p"),
        ("data: {gated: maybe}", "bad.yaml: data.gated"),
        ("sampling: {seed: 1, seed: 2}", "the key `seed` stands in line 1 and in 1"),
    ],
)
def test_a_wrong_file_names_file_and_key(text, said, tmp_path):
    (tmp_path / "bad.yaml").write_text(text)
    done = run("eval", "-m", "fake:0.5", "-t", "tiny", "-c", "bad.yaml", "--out", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "x").exists()


def test_an_evaluation_from_a_file_alone_ends_as_one_from_flags(folder):
    by_file = run("eval", "-c", "eval.yaml", "--out", "a", "--quiet", "--json", cwd=folder)
    assert by_file.returncode == 0, by_file.stderr
    by_flags = run(
        *("eval", "-m", "fake:0.6", "-t", "tiny_short:2", "--seed", "1", "-L", "3"),
        *("--temperature", "0.5", "--gold-corrections", "off", "--out", "b", "--quiet", "--json"),
        cwd=folder,
    )
    assert by_flags.returncode == 0, by_flags.stderr
    one, two = json.loads(by_file.stdout), json.loads(by_flags.stdout)
    assert one["table"] == two["table"]
    assert one["partial"] is None
    name = one["folder"].split("/")[-1]
    assert name == two["folder"].split("/")[-1], "the fingerprint knows no layers"


def test_what_is_not_set_names_its_flag(tmp_path):
    done = run("eval", "-t", "tiny", "--out", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert "give --model" in done.stderr
