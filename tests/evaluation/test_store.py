"""The store and resuming: what a kill, a full disk, a second writer, more samples or a changed
model do to a run folder."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from server import Server, completion

from sage_bench.evaluation import folders, runner
from sage_bench.evaluation.store import SampleStore
from sage_bench.evaluation.tasks.files import tasks_folder
from sage_bench.evaluation.tasks.spec import parse
from sage_bench.generation.samplers.fake import Fake
from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.samplers.openai import OpenAI
from sage_bench.reporting.runs import read_eval
from sage_bench.utils.errors import PartialError, SageBenchError, UsageError
from sage_bench.utils.files import Appender, locked, read_jsonl, write_text

ROW = {
    "task",
    "doc_id",
    "sample",
    "seed",
    "prompt_hash",
    "text",
    "finish",
    "prompt_tokens",
    "tokens",
    "time",
}


def evaluate(sampler, out: Path, tasks: str = "tiny_short:4", **changes) -> Path:
    return runner.evaluate(
        runner.EvalConfig("model", parse(tasks), out, **{"limit": 12, **changes}),
        sampler,
        quiet=True,
    )


def rows(folder: Path, task: str = "tiny_short") -> list[dict]:
    return [
        {k: v for k, v in r.items() if k != "time"}
        for r in read_jsonl(folder / "samples" / f"{task}.jsonl")
    ]


def command(out: Path, *words: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "sage_bench",
        "eval",
        "-m",
        "fake:0.5",
        "-t",
        "tiny_short:16,tiny_long:16",
        "-o",
        str(out),
        "-q",
        *words,
    ]


def run(words: list[str], **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=300, **more)


def row(doc: int = 0, sample: int = 0, **more) -> dict:
    how = {"seed": 1, "prompt_hash": "h", "finish": "stop", "prompt_tokens": 1, "tokens": 1}
    return {"task": "t", "doc_id": doc, "sample": sample, **how, "text": "x", **more}


def test_a_row_says_all_of_its_sample(tmp_path):
    folder = evaluate(Fake("fake:0.5"), tmp_path)
    stored = list(read_jsonl(folder / "samples/tiny_short.jsonl"))
    assert all(set(r) == ROW for r in stored)
    assert {r["task"] for r in stored} == {"tiny_short"}
    assert len({r["prompt_hash"] for r in stored}) == 12
    assert len({r["seed"] for r in stored}) == 48
    assert all(r["tokens"] == len(r["text"].split()) for r in stored)
    assert {r["finish"] for r in stored} <= {"stop", "length"}


# --- kills


@pytest.mark.slow
def test_a_kill_loses_at_most_what_was_in_flight_and_two_kills_change_nothing(tmp_path):
    """Each sample is on disk as soon as it came: killed twice with SIGKILL, never is a finished
    sample drawn again."""

    def answer(body, n):
        time.sleep(0.01)
        return 200, completion(f"\\boxed{{{body['seed'] % 97}}}")

    def words(out: Path, server: Server) -> list[str]:
        return [
            sys.executable,
            "-m",
            "sage_bench",
            "eval",
            "-m",
            "m",
            "--sampler",
            "openai",
            "-t",
            "tiny_short:8",
            "-o",
            str(out),
            "-q",
            "--sampler-option",
            f"base_url={server.url}",
            "--sampler-option",
            "parallel=4",
        ]

    with Server(answer) as server:
        straight = Path(run(words(tmp_path / "straight", server), check=True).stdout.split()[-1])
    with Server(answer) as server:
        for kill in (1, 2):
            process = subprocess.Popen(
                words(tmp_path / "killed", server),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            server.wait_for(200 * kill)
            process.send_signal(signal.SIGKILL)
            process.wait()
            time.sleep(0.1)  # answers on their way to nobody
            stored = rows(next((tmp_path / "killed").glob("*/*")))
            lost = server.answered - len(stored)
            assert 0 <= lost <= 2 * 4 * kill, (
                "at most what each of the 4 threads had, and what waited for its line"
            )
            assert len(stored) == len({(r["doc_id"], r["sample"]) for r in stored}) < 800
        last = run(words(tmp_path / "killed", server), check=True)
        assert len(server.calls) <= 800 + 3 * 8
    folder = Path(last.stdout.split()[-1])
    assert sorted(rows(folder), key=str) == sorted(rows(straight), key=str)
    assert len(rows(folder)) == 800
    for name in ("summary.csv", "per_question.csv"):
        assert (folder / name).read_bytes() == (straight / name).read_bytes()


def test_more_samples_keep_the_first_sixteen(tmp_path):
    folder = evaluate(Fake("fake:0.5"), tmp_path, "tiny_short:16")
    before = (folder / "samples/tiny_short.jsonl").read_bytes()
    assert evaluate(Fake("fake:0.5"), tmp_path, "tiny_short:32") == folder
    assert (folder / "samples/tiny_short.jsonl").read_bytes().startswith(before)
    both = rows(folder)
    assert len(both) == 12 * 32
    assert sorted(both, key=str) == sorted(
        rows(evaluate(Fake("fake:0.5"), tmp_path / "direct", "tiny_short:32")), key=str
    )
    again = (folder / "samples/tiny_short.jsonl").read_bytes()
    evaluate(Fake("fake:0.5"), tmp_path, "tiny_short:4")
    assert (folder / "samples/tiny_short.jsonl").read_bytes() == again and read_eval(folder).tasks[
        "tiny_short"
    ].samples == 32, "fewer later take nothing away"


def test_tasks_join_a_run_and_leave_the_others_alone(tmp_path):
    folder = evaluate(Fake("fake:0.5"), tmp_path, "tiny_short:4")
    assert evaluate(Fake("fake:0.5"), tmp_path, "tiny_long:2") == folder
    assert set(read_eval(folder).tasks) == {"tiny_short", "tiny_long"}
    assert folders.read_manifest(folder).tasks == {"tiny_short": 4, "tiny_long": 2}
    results = json.loads((folder / "results.json").read_text())
    assert set(results["results"]) == {"tiny_short", "tiny_long"} == set(results["n-samples"])


# --- disk full


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_keeps_what_is_there(tmp_path):
    """lm-eval #2548: results were lost when saving failed. Here by a limit on the size of files,
    which needs no rights."""
    limit = 60_000
    full = run(
        command(tmp_path / "full"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert (
        full.returncode == 1
        and "cannot be written" in full.stderr
        and "kept" in full.stderr
        and "Traceback" not in full.stderr
    ), full.stderr[-2000:]
    folder = next((tmp_path / "full").glob("*/*"))
    file = folder / "samples/tiny_short.jsonl"
    kept = file.read_bytes()
    assert limit - 2000 < len(kept) <= limit
    assert kept.endswith(b"\n")
    assert all(json.loads(line) for line in kept.splitlines())
    run(command(tmp_path / "full"), check=True)
    straight = Path(run(command(tmp_path / "straight"), check=True).stdout.split()[-1])
    assert file.read_bytes().startswith(kept)
    assert (folder / "summary.csv").read_bytes() == (straight / "summary.csv").read_bytes()


def test_a_full_file_system_too(tmp_path):
    """The same with a real ENOSPC, on a file system of 256 KB mounted in a namespace of its own."""
    small = tmp_path / "small"
    small.mkdir()
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    mount = f"mount -t tmpfs -o size=256k none {small}"
    tried = run([*unshare, "sh", "-c", mount])
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")
    script = (
        f"{mount} && {' '.join(command(small))}; code=$?; cp -r {small} {tmp_path / 'copy'}; exit"
        " $code"
    )
    done = run([*unshare, "sh", "-c", script])
    assert (
        done.returncode == 1
        and "No space left on device" in done.stderr
        and "Traceback" not in done.stderr
    ), done.stderr[-2000:]
    kept = (next((tmp_path / "copy").glob("*/*")) / "samples/tiny_short.jsonl").read_bytes()
    assert len(kept) > 100_000
    assert kept.endswith(b"\n")
    assert all(json.loads(line) for line in kept.splitlines())


def limited(code: str, size: int = 4096) -> subprocess.CompletedProcess[str]:
    """Python that may write files of `size` bytes only."""
    lead = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\nfrom"
        " pathlib import Path\nfrom sage_bench.utils.files import *\nfrom sage_bench.utils.errors"
        " import SageBenchError\n"
    )
    return run([sys.executable, "-c", lead + code])


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "manifest.json", "old")
    done = limited(f"write_text(Path({str(tmp_path / 'manifest.json')!r}), 'x' * 10000)")
    assert "SageBenchError" in done.stderr
    assert "cannot be written" in done.stderr
    assert (tmp_path / "manifest.json").read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["manifest.json"]


def test_an_appender_takes_its_torn_part_back(tmp_path):
    code = f"""
a = Appender(Path({str(tmp_path / "a.jsonl")!r}))
n = 0
try:
    while True:
        a.write({{"n": n, "text": "y" * 300}})
        n += 1
except SageBenchError as error:
    print(n, error)
"""
    done = limited(code)
    n = int(done.stdout.split()[0])
    assert [r["n"] for r in read_jsonl(tmp_path / "a.jsonl")] == list(range(n))
    assert (tmp_path / "a.jsonl").read_bytes().endswith(b"\n")
    assert n > 5


# --- torn files, duplicates


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_wherever_a_row_is_torn_the_others_stay(tmp_path, cut):
    store = SampleStore(tmp_path, "t")
    store.append([row(0), row(1, text="häß \U0001d53c")])
    store.close()
    store.file.write_bytes(store.file.read_bytes()[:-cut])
    healed = SampleStore(tmp_path, "t")
    assert (0, 0, "h") in healed
    assert (cut == 1) == ((1, 0, "h") in healed)
    assert healed.append([row(1, text="again")]) == (cut != 1)
    healed.close()
    assert [r["text"] for r in SampleStore(tmp_path, "t").rows.values()] == [
        "x",
        "häß \U0001d53c" if cut == 1 else "again",
    ]


def test_equal_keys_in_one_call_are_one_row(tmp_path):
    store = SampleStore(tmp_path, "t")
    assert store.append([row(text="first"), row(text="second")]) == 1
    assert store.append([row(text="third")]) == 0
    assert [r["text"] for r in read_jsonl(store.file)] == ["first"]


def test_another_prompt_is_another_key(tmp_path):
    store = SampleStore(tmp_path, "t")
    assert store.append([row(), row(prompt_hash="other")]) == 2


def test_rows_are_with_the_system_when_append_returns(tmp_path):
    store = SampleStore(tmp_path, "t")
    for i in range(50):
        store.append([row(i)])
        assert len(store.file.read_bytes().splitlines()) == i + 1


# --- two writers


def test_a_second_writer_is_turned_away(tmp_path):
    sampler = Fake("fake:0.5")
    folder = evaluate(sampler, tmp_path)
    code = (
        "import time\nfrom pathlib import Path\nfrom sage_bench.utils.files import locked\nwith"
        f" locked(Path({str(folder)!r})):\n    print('mine', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "mine\n"
    before = (folder / "samples/tiny_short.jsonl").read_bytes()
    with pytest.raises(SageBenchError, match=rf"another process \(pid {other.pid}\)"):
        evaluate(sampler, tmp_path, "tiny_short:8")
    assert (folder / "samples/tiny_short.jsonl").read_bytes() == before
    other.kill()
    other.wait()
    assert len(rows(evaluate(sampler, tmp_path, "tiny_short:8"))) == 96, (
        "the lock died with its process"
    )


def test_readers_need_no_lock(tmp_path):
    folder = evaluate(Fake("fake:0.5"), tmp_path)
    with locked(folder):
        assert read_eval(folder).tasks["tiny_short"].status == "ok"


# --- fingerprints


def own_task(folder: Path, answers: str = "12", **changes) -> None:
    """A task file of ours beside a data file of ours."""
    folder.mkdir(exist_ok=True)
    for name in ("_base.yaml", "utils.py"):
        shutil.copy(tasks_folder() / name, folder / name)
    data = folder / "data.jsonl"
    data.write_text(
        "".join(
            json.dumps({"uid": str(i), "question": f"{i}+{i}=?", "answer": answers}) + "\n"
            for i in range(5)
        )
    )
    values = {
        "include": "_base.yaml",
        "task": "own",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "repeats": 2,
        "metadata": {"version": 1.0},
        "generation_kwargs": {
            "until": [],
            "do_sample": True,
            "temperature": 0.6,
            "max_gen_toks": 64,
        },
        **changes,
    }
    (folder / "own.yaml").write_text(json.dumps(values))  # JSON is YAML


@pytest.fixture
def own(tmp_path, monkeypatch):
    own_task(tmp_path / "tasks")
    monkeypatch.setenv("SAGE_BENCH_INCLUDE_PATH", str(tmp_path / "tasks"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def go(sampler=None, **changes) -> Path:
        config = runner.EvalConfig("model", {"own": 2}, tmp_path / "out", **changes)
        return runner.evaluate(config, sampler or Fake("fake:0.5"), quiet=True)

    return go


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: own_task(t, description="Think hard."), "tasks.own.prompt_id"),
        (lambda t: own_task(t, doc_to_text="Q: {{question}}"), "tasks.own.prompt_id"),
        (
            lambda t: own_task(
                t,
                generation_kwargs={
                    "until": [],
                    "do_sample": True,
                    "temperature": 0.7,
                    "max_gen_toks": 64,
                },
            ),
            "tasks.own.temperature: 0.6 -> 0.7",
        ),
        (
            lambda t: own_task(
                t,
                generation_kwargs={
                    "until": ["\n"],
                    "do_sample": True,
                    "temperature": 0.6,
                    "max_gen_toks": 64,
                },
            ),
            "tasks.own.until",
        ),
        (lambda t: own_task(t, answers="13"), "tasks.own.data_rev"),
    ],
    ids=["system prompt", "question", "temperature", "stops", "data"],
)
def test_a_changed_task_opens_a_new_folder_and_says_what_changed(
    own, tmp_path, capsys, change, said
):
    first = own()
    assert capsys.readouterr().err.count("new run folder") == 0
    before = (first / "samples/own.jsonl").read_bytes()
    change(tmp_path / "tasks")
    second = own()
    err = capsys.readouterr().err
    assert second != first
    assert f"new run folder {second}; {first.name} beside it differs in" in err
    assert said in err
    assert (first / "samples/own.jsonl").read_bytes() == before
    assert len(list(read_jsonl(second / "samples/own.jsonl"))) == 10
    assert own() == second and "new run folder" not in capsys.readouterr().err, (
        "and is gone on with"
    )
    own_task(tmp_path / "tasks")
    assert own() == first, "as the old one is, when all is as it was"


def test_what_does_not_decide_samples_opens_no_folder(own, tmp_path):
    first = own()
    own_task(tmp_path / "tasks", metadata={"version": 1.0, "licence": "MIT"}, repeats=7)
    assert own() == first
    assert own(grader="math_verify", label={"method": "x"}) == first


def test_another_seed_limit_or_sampling_is_another_folder(own, capsys):
    seen = [
        own(),
        own(seed=1),
        own(limit=3),
        own(sampling={"temperature": 1.0}),
        own(Fake("fake:0.6")),
    ]
    err = capsys.readouterr().err
    assert len(set(seen)) == 5
    for line in (
        "  seed: 0 -> 1",
        "  limit: (none) -> 3",
        "  sampling.temperature: (none) -> 1.0",
        "  sampler.accuracy: 0.5 -> 0.6",
    ):
        assert line in err


def test_changed_weights_or_template_are_another_folder(own, packaged, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "policy"
    shutil.copytree(packaged, copy)
    first = own(Hf(str(copy)))
    assert own(Hf(packaged)) == first, "the same weights elsewhere are the same weights"
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + "{# a comment #}")
    second = own(Hf(str(copy)))
    assert second != first
    assert "  sampler.template: " in capsys.readouterr().err
    weights = load_file(copy / "model.safetensors")
    name = next(k for k in weights if k.endswith("norm.weight"))
    weights[name] = weights[name] * 1.5
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    third = own(Hf(str(copy)))
    assert third not in (first, second)
    assert "  sampler.weights: " in capsys.readouterr().err


def test_a_task_that_changed_does_not_bother_the_others(own, tmp_path):
    first = own()
    shutil.copy(tmp_path / "tasks/own.yaml", tmp_path / "tasks/second.yaml")
    (tmp_path / "tasks/second.yaml").write_text(
        (tmp_path / "tasks/second.yaml").read_text().replace('"own"', '"second"')
    )
    own_task(tmp_path / "tasks", description="Changed.")
    config = runner.EvalConfig("model", {"second": 1}, tmp_path / "out")
    assert runner.evaluate(config, Fake("fake:0.5"), quiet=True) == first, (
        "only what is asked for now must agree"
    )
    config = runner.EvalConfig("model", {"second": 1, "own": 1}, tmp_path / "out")
    assert runner.evaluate(config, Fake("fake:0.5"), quiet=True) != first


def test_a_folder_of_an_older_schema_is_left_alone(own, tmp_path):
    first = own()
    manifest = folders.read_manifest(first)
    manifest.fingerprint["schema"] = 1
    manifest.write(first / "manifest.json")
    assert own() != first


def test_other_versions_on_the_way_are_noted(own, capsys):
    first = own()
    manifest = folders.read_manifest(first)
    manifest.versions["torch"] = "1.0"
    manifest.write(first / "manifest.json")
    assert own() == first
    assert "note: torch was 1.0 when this run began" in capsys.readouterr().err
    assert [v["torch"] for v in folders.read_manifest(first).earlier_versions] == ["1.0"]


def test_a_run_that_was_killed_before_its_first_sample_can_go_on(own, tmp_path):
    first = own()
    shutil.rmtree(first / "samples")
    (first / "manifest.json").unlink()
    assert own() == first
    assert len(list(read_jsonl(first / "samples/own.jsonl"))) == 10


# --- errors on the way


def test_an_error_of_the_sampler_keeps_what_came_before(tmp_path):
    class Breaks(Fake):
        def draw(self, asks):
            for i, text in super().draw(asks):
                if i == 17:
                    raise RuntimeError("out of memory")
                yield i, text

    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(Breaks("fake:0.5"), tmp_path)
    folder = next(tmp_path.glob("*/*"))
    assert len(rows(folder)) == 17
    assert evaluate(Fake("fake:0.5"), tmp_path) == folder
    assert len(rows(folder)) == 48


def test_the_ledger_of_a_server_survives_a_resume(tmp_path):
    with Server(
        lambda body, n: (400, "no") if n == 3 else (200, completion("\\boxed{1}"))
    ) as server:
        for _ in range(2):
            sampler = OpenAI("m", base_url=server.url, parallel=1)
            try:
                folder = evaluate(sampler, tmp_path, limit=2)
            except PartialError as error:
                assert "http 400 no" in str(error)
    calls = [c["status"] for c in read_jsonl(folder / "openai_calls.jsonl")]
    assert len(calls) == 9
    assert calls[3] == "http 400"
    assert len(rows(folder)) == 8


def test_greedy_copies_are_refused_at_the_command_line(tmp_path):
    from sage_bench.cli.evaluate import evaluate as verb

    with pytest.raises(UsageError, match="equal copies"):
        verb(model="fake:0.5", tasks=["tiny_short:4"], out=tmp_path, temperature=0.0)


def test_appender_closes_a_torn_line_first(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": 2, "te')
    appender = Appender(tmp_path / "a.jsonl")
    appender.write({"n": 3})
    appender.close()
    assert [r["n"] for r in read_jsonl(tmp_path / "a.jsonl")] == [1, 3]
