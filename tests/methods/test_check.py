"""Mistakes of a method: what `sage-bench check` and a training step say of each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import ScriptedEngine, context, problem

from sage_bench.methods.check import SITUATIONS, check
from sage_bench.methods.driver import collect
from sage_bench.methods.guard import MethodCrashError, MethodError, answered
from sage_bench.methods.registry import BACKENDS
from sage_bench.types import PolicyAccess, Request
from sage_bench.utils.errors import SageBenchError, UsageError
from sage_bench.utils.registry import load_file

ROOT = Path(__file__).resolve().parents[2]

HEAD = """\
import random
from dataclasses import dataclass, replace
import torch
from sage_bench import register_backend
from sage_bench.backends.grpo import GRPO
from sage_bench.types import Group, Request, Row, Sample, Score


@register_backend("mine")
class Mine(GRPO):
    '''A method with a mistake.'''

"""
CLASS_LINE = 9


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test registers is gone after it."""
    BACKENDS.names()
    entries, places = dict(BACKENDS._entries), dict(BACKENDS._places)
    yield
    BACKENDS._entries, BACKENDS._places = entries, places


def written(folder: Path, body: str, head: str = HEAD) -> Path:
    file = folder / "my_method.py"
    file.write_text(head + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n")
    return file


# name: (body of the class, function, what is said, what is expected, steps of training see it)
MISTAKES: dict[str, tuple[str, str, str, str, bool]] = {
    "returns nothing": (
        """
        def roll(self, problem):
            group = yield from self.attempt(problem)
        """,
        "roll",
        "it returns None",
        "return group",
        True,
    ),
    "returns a number": (
        """
        def roll(self, problem):
            yield from self.attempt(problem)
            return 3
        """,
        "roll",
        r"it returns a int \(3\)",
        "return group",
        True,
    ),
    "returns an empty list": (
        """
        def roll(self, problem):
            yield from self.attempt(problem)
            return []
        """,
        "roll",
        "it returns an empty list",
        "return a Group, or several",
        True,
    ),
    "is not a generator": (
        """
        def roll(self, problem):
            return None
        """,
        "roll",
        "it is not a generator: calling it gives None",
        "ask with `yield`",
        True,
    ),
    "yields a bare request": (
        """
        def roll(self, problem):
            answers = yield Sample(self.ctx.prompt(problem), 2, self.ctx.sampling)
            return None
        """,
        "roll",
        "it yields a bare Sample",
        r"yield a list, `\(answer,\) = yield \[request\]`",
        True,
    ),
    "yields None": (
        """
        def roll(self, problem):
            yield
        """,
        "roll",
        "it yields None",
        "yield a list of requests",
        True,
    ),
    "asks for something unknown": (
        """
        def roll(self, problem):
            yield ["please"]
        """,
        "roll",
        r"it asks for a str \('please'\), which is not a request",
        "derives from `sage_bench.types.Request`",
        True,
    ),
    "asks for no completion": (
        """
        def roll(self, problem):
            return (yield from self.attempt(problem, n=-1))
        """,
        "roll",
        "it asks for n=-1 completions",
        "n >= 1",
        True,
    ),
    "asks for n=0": (
        """
        def roll(self, problem):
            yield [Sample(self.ctx.prompt(problem), 0, self.ctx.sampling)]
        """,
        "roll",
        "it asks for n=0 completions",
        "n >= 1",
        True,
    ),
    "never ends": (
        """
        def roll(self, problem):
            while True:
                yield [Sample(self.ctx.prompt(problem), 1, self.ctx.sampling)]
        """,
        "roll",
        r"a problem is not done after \d+ rounds of requests",
        "end the generator",
        True,
    ),
    "asks for nothing for ever": (
        """
        def roll(self, problem):
            while True:
                yield []
        """,
        "roll",
        r"a problem is not done after \d+ rounds",
        "end the generator",
        True,
    ),
    "group of another problem": (
        """
        def roll(self, problem):
            group = yield from self.attempt(problem)
            self.first = getattr(self, "first", group)
            return self.first
        """,
        "roll",
        "it returns a group of problem `",
        "the problem that `roll` was given",
        True,
    ),
    "rewards of another length": (
        """
        def roll(self, problem):
            group = yield from self.attempt(problem)
            group.rewards = torch.zeros(7)
            return group
        """,
        "roll",
        r"`rewards` of its group are a tensor of shape \(7,\) for \d completions",
        "one number a completion",
        True,
    ),
    "scores that are a list": (
        """
        def roll(self, problem):
            group = yield from self.attempt(problem)
            group.scores = [0.0] * len(group.completions)
            return group
        """,
        "roll",
        "`scores` of its group are a list",
        "a tensor of shape",
        True,
    ),
    "rewards that are not finite": (
        """
        def roll(self, problem):
            group = yield from self.attempt(problem)
            group.rewards = group.rewards / 0
            return group
        """,
        "roll",
        "`rewards` of its group are not all finite",
        "finite",
        True,
    ),
    "prompts of another number": (
        """
        def roll(self, problem):
            group = yield from self.attempt(problem)
            group.prompts = [group.prompt] * 9
            return group
        """,
        "roll",
        r"`prompts` of its group are 9 for \d completions",
        "one prompt a completion",
        True,
    ),
    "credit returns nothing": (
        """
        def credit(self, group):
            super().credit(group)
        """,
        "credit",
        "it returns None",
        "a list of rows",
        True,
    ),
    "credit returns no rows": (
        """
        def credit(self, group):
            return [1.0]
        """,
        "credit",
        r"it returns a float \(1.0\) among the rows",
        "return `Row`s",
        True,
    ),
    "advantage of a wrong length": (
        """
        def credit(self, group):
            rows = super().credit(group)
            return [replace(r, advantage=r.advantage[:-1]) for r in rows]
        """,
        "credit",
        r"row 0 has \d+ tokens and a `advantage` of shape \(\d+,\)",
        "one number a token",
        True,
    ),
    "advantages of wrong lengths that make up for each other": (
        """
        def credit(self, group):
            rows = super().credit(group)
            if len(rows) > 1:
                a, b = rows[:2]
                both = torch.cat([a.advantage, b.advantage])
                n = len(a.tokens) + 1
                rows[:2] = [replace(a, advantage=both[:n]), replace(b, advantage=both[n:])]
            return rows
        """,
        "credit",
        r"row 0 has \d+ tokens and a `advantage` of shape \(\d+,\)",
        "one number a token",
        True,
    ),
    "advantage of a completion": (
        """
        def credit(self, group):
            rows = super().credit(group)
            return [replace(r, advantage=r.advantage[0]) for r in rows]
        """,
        "credit",
        r"row 0 has \d+ tokens and a `advantage` of shape \(\)",
        r"`\.expand\(\d+\)`",
        True,
    ),
    "advantage of integers": (
        """
        def credit(self, group):
            return [replace(r, advantage=r.advantage.long()) for r in super().credit(group)]
        """,
        "credit",
        "row 0 has a `advantage` of type torch.int64",
        "floating-point",
        True,
    ),
    "advantage that is a list": (
        """
        def credit(self, group):
            return [replace(r, advantage=r.advantage.tolist()) for r in super().credit(group)]
        """,
        "credit",
        "row 0 has a list",
        "a tensor of",
        True,
    ),
    "advantage that is not finite": (
        """
        def credit(self, group):
            return [replace(r, advantage=r.advantage / 0) for r in super().credit(group)]
        """,
        "credit",
        "row 0 has a `advantage` that is not finite",
        "check a 0 / 0",
        True,
    ),
    "old log-probabilities of a wrong length": (
        """
        def credit(self, group):
            return [replace(r, old_logp=torch.zeros(1)) for r in super().credit(group)]
        """,
        "credit",
        r"tokens and a `old_logp` of shape \(1,\)",
        "one number a token",
        True,
    ),
    "tokens that are a list": (
        """
        def credit(self, group):
            return [replace(r, tokens=list(r.tokens)) for r in super().credit(group)]
        """,
        "credit",
        "row 0 has no tuples of token ids",
        "tuples of ints",
        True,
    ),
    "a kind of its own": (
        """
        def credit(self, group):
            return [replace(r, kind="pg") for r in super().credit(group)]
        """,
        "credit",
        r"row 0 has a str \('pg'\) as its kind",
        "a `Kind`",
        True,
    ),
    "a group without a name": (
        """
        def credit(self, group):
            return [replace(r, group="") for r in super().credit(group)]
        """,
        "credit",
        r"row 0 has a str \(''\) as its group",
        "name it",
        True,
    ),
    "one name for all groups": (
        """
        def credit(self, group):
            return [replace(r, group="all") for r in super().credit(group)]
        """,
        "credit",
        "its rows belong to group `all`, which is one of problem `",
        "under a name with its uid in it",
        True,
    ),
    "rows of another problem": (
        """
        def credit(self, group):
            self.rows = getattr(self, "rows", None) or super().credit(group)
            return self.rows
        """,
        "credit",
        "its rows belong to group `",
        "the rows of the group that is given",
        True,
    ),
    "raises": (
        """
        def roll(self, problem):
            group = yield from self.attempt(problem)
            return group.no_such_thing
        """,
        "roll",
        "raised AttributeError: 'Group' object has no attribute 'no_such_thing'",
        "the line reads `return group.no_such_thing`",
        True,
    ),
    "raises in credit": (
        """
        def credit(self, group):
            return [r.advantage + torch.zeros(len(r.tokens) + 3) for r in super().credit(group)]
        """,
        "credit",
        "raised RuntimeError: The size of tensor a",
        "the line reads",
        True,
    ),
    "a request without an answer": (
        """
        needs = frozenset({"sample", "policy"})

        def roll(self, problem):
            class Depth(Request):
                pass

            yield [Depth()]
        """,
        "answer",
        "no engine knows how to answer it",
        "a classmethod `answer`",
        False,
    ),
    "a request that is not declared": (
        """
        def roll(self, problem):
            group = yield from self.attempt(problem)
            yield [Score(group.prompt, group.completions[0].tokens)]
            return group
        """,
        "roll",
        r"it asks for a Score, and `needs` is \['sample'\]",
        r"needs = frozenset\(\{'sample', 'score'\}\)",
        False,
    ),
    "a tensor in the state": (
        """
        def state_dict(self):
            return {"mean": torch.zeros(1)}
        """,
        "state_dict",
        r"mean holds a tensor of shape \(1,\), which JSON does not keep",
        r"`\.tolist\(\)`",
        False,
    ),
    "numbers as keys of the state": (
        """
        def state_dict(self):
            return {"seen": {3: 1}}
        """,
        "state_dict",
        "seen holds the key 3, which JSON does not keep",
        r"str\(key\)",
        False,
    ),
    "a state that is not a dict": (
        """
        def state_dict(self):
            return [1]
        """,
        "state_dict",
        "it returns a list",
        "return a dict",
        False,
    ),
    "a state that is not taken back": (
        """
        def state_dict(self):
            return {"visits": 3}
        """,
        "load_state_dict",
        "has no state but the checkpoint holds",
        "",
        False,
    ),
    "a state that comes back as another": (
        """
        seen = 0

        def roll(self, problem):
            self.seen += 1
            return (yield from self.attempt(problem))

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            pass
        """,
        "load_state_dict",
        r"what it is given does not come back from `state_dict` \(`seen`\)",
        "restore everything",
        False,
    ),
    "a state that is not in state_dict": (
        """
        seen = 0

        def roll(self, problem):
            self.seen += 1
            level = 1 if self.seen > 6 else 0
            return (yield from self.attempt(problem, level, "again" if level else None))
        """,
        "roll",
        "a resumed run differs from one that went on",
        "in `state_dict`",
        False,
    ),
    "draws of its own": (
        """
        def credit(self, group):
            luck = random.random()
            return [replace(r, advantage=r.advantage + luck) for r in super().credit(group)]
        """,
        "roll",
        "two runs with the same seed differ",
        "derive every draw",
        False,
    ),
    "weights of another number": (
        """
        def row_weights(self, rows, ratios, objective):
            return [1.0]
        """,
        "row_weights",
        r"it gave 1 weights for \d+ rows",
        "one weight a row",
        False,
    ),
    "a loss of one number": (
        """
        def token_loss(self, tokens, objective):
            return tokens.logp.sum(), {}
        """,
        "token_loss",
        r"its loss is a tensor of shape \(\) for \d+ tokens",
        "one number a token",
        False,
    ),
    "a loss without a gradient": (
        """
        def token_loss(self, tokens, objective):
            return -tokens.advantage, {}
        """,
        "token_loss",
        "its loss has no gradient",
        "from `tokens.logp`",
        False,
    ),
    "numbers for the log that are no lists": (
        """
        def row_metrics(self, rows, ratios, objective):
            return {"mine": 0.5}
        """,
        "row_metrics",
        r"it returns a float \(0.5\)",
        "lists of numbers by name",
        False,
    ),
    "a description that JSON does not keep": (
        """
        def describe_completion(self, group, i):
            return {"mine": group.rewards}
        """,
        "describe_completion",
        "mine holds a tensor",
        "JSON|tolist",
        False,
    ),
    "preparation that JSON does not keep": (
        """
        def prepare(self, problem):
            def program():
                (completions,) = yield [Sample(self.ctx.prompt(problem), 1, self.ctx.sampling)]
                return completions
            return program()
        """,
        "prepare",
        "0 holds a Completion",
        "tolist",
        False,
    ),
    "a constructor that raises": (
        """
        def __init__(self, *args, **switches):
            super().__init__(*args, **switches)
            self.cfg.no_such_switch
        """,
        "__init__",
        "no_such_switch",
        "",
        False,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_check_names_the_mistake_the_place_and_what_was_expected(name, tmp_path):
    body, function, found, expected, _ = MISTAKES[name]
    file = written(tmp_path, body)
    (checked,) = check(str(file))
    assert checked.findings, name
    texts = [str(finding) for finding in checked.findings]
    mine = [t for t in texts if re.search(found, t)]
    assert mine, texts
    assert re.search(expected, mine[0])
    assert f"`{function}`" in mine[0] or "load_state_dict" in function
    assert "\n" not in mine[0]


LINES = {
    "yields a bare request": "yield Sample",
    "asks for n=0": "yield [Sample",
    "never ends": "yield [Sample",
    "raises": "no_such_thing",
    "raises in credit": "torch.zeros",
    "returns nothing": "def roll",
    "advantage of a wrong length": "def credit",
    "a tensor in the state": "def state_dict",
    "a loss of one number": "def token_loss",
}


@pytest.mark.parametrize("name", LINES)
def test_the_line_is_that_of_the_mistake(name, tmp_path):
    file = written(tmp_path, MISTAKES[name][0])
    (finding, *_) = check(str(file))[0].findings
    where, _, line = finding.where.rpartition(":")
    assert Path(where) == file
    assert LINES[name] in file.read_text().splitlines()[int(line) - 1]


@pytest.mark.parametrize("name", [n for n, m in MISTAKES.items() if m[-1]])
def test_a_training_step_says_the_same(name, tmp_path, renderer):
    body, function, found, _, _ = MISTAKES[name]
    load_file(written(tmp_path, body))
    method = BACKENDS.get("mine")(context(renderer), group_size=2)
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: "42" if k else "no")
    problems = [problem("a", "one"), problem("b", "two")]
    with pytest.raises((MethodError, MethodCrashError), match=found) as error:
        collect(method, problems, engine, step=4)
    assert f"backend `mine`, `{function}` (problem `" in error.value.what
    assert "step 4)" in error.value.what
    assert re.match(rf"{re.escape(str(tmp_path / 'my_method.py'))}:\d+: ", str(error.value))


def test_what_a_method_raised_is_chained_and_its_way_is_shown(tmp_path, renderer):
    load_file(
        written(
            tmp_path,
            """
            def credit(self, group):
                return helper(group)
            """,
            HEAD.replace(
                "@register_backend",
                "def helper(group):\n    return group.gone\n\n\n@register_backend",
            ),
        )
    )
    method = BACKENDS.get("mine")(context(renderer), group_size=2)
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: "no")
    with pytest.raises(MethodCrashError, match="AttributeError") as error:
        collect(method, [problem()], engine)
    assert isinstance(error.value.__cause__, AttributeError)
    assert error.value.remedy == "the line reads `return group.gone`"


def test_an_error_of_ours_is_not_wrapped(tmp_path, renderer):
    load_file(
        written(
            tmp_path,
            """
            def credit(self, group):
                from sage_bench.utils.errors import DataError
                raise DataError("no such row", where="data.jsonl:3")
            """,
        )
    )
    method = BACKENDS.get("mine")(context(renderer), group_size=2)
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: "no")
    with pytest.raises(SageBenchError, match=r"data\.jsonl:3: no such row") as error:
        collect(method, [problem()], engine)
    assert not isinstance(error.value, MethodCrashError)


def test_the_rounds_of_a_problem_are_limited_by_the_caller(tmp_path, renderer):
    load_file(written(tmp_path, MISTAKES["never ends"][0]))
    method = BACKENDS.get("mine")(context(renderer), group_size=2)
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: "no")
    with pytest.raises(MethodError, match="not done after 6 rounds"):
        collect(method, [problem()], engine, max_rounds=6)
    assert len(engine.rounds) == 6


def test_answers_of_a_request_are_one_a_request():
    class Short(Request):
        @classmethod
        def answer(cls, access, requests):
            return [1]

    with pytest.raises(MethodError, match=r"it gave a list \(\[1\]\) for 2 requests"):
        answered(Short, PolicyAccess(None), [Short(), Short()])


# ---- files ---------------------------------------------------------------------------------------
def test_a_good_method_passes_in_every_situation(tmp_path):
    (checked,) = check(str(written(tmp_path, "pass")))
    assert checked.findings == ()
    assert checked.situations == len(SITUATIONS)
    assert checked.rows > 100


def test_backends_of_ours_can_be_checked_by_name():
    (checked,) = check("grpo")
    assert (checked.backend, checked.findings) == ("grpo", ())


def test_every_backend_of_a_file_is_checked(tmp_path):
    file = written(tmp_path, "pass")
    more = HEAD[HEAD.index("@register") :].replace('"mine"', '"other"').replace("Mine", "Other")
    file.write_text(file.read_text() + "\n\n" + more)
    assert [c.backend for c in check(str(file))] == ["mine", "other"]


def test_switches_reach_the_method(tmp_path):
    body = """
    def roll(self, problem):
        if self.cfg.std_ddof == 1:
            yield "wrong"
        return (yield from self.attempt(problem))
    """
    file = written(tmp_path, body)
    assert check(str(file))[0].findings == ()
    assert "it yields a str" in str(check(str(file), {"std_ddof": 1})[0].findings[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "registers no backend"),
        ("import nothing_like_it\n", "does not import: ModuleNotFoundError"),
        (None, "no such file"),
    ],
)
def test_files_that_cannot_be_checked(text, message, tmp_path):
    file = tmp_path / "other.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SageBenchError, match=message):
        check(str(file))


def test_a_class_that_is_no_method_is_named(tmp_path):
    file = tmp_path / "plain.py"
    file.write_text(
        "from sage_bench import register_backend\n\n\n"
        "@register_backend('plain')\nclass Plain:\n    pass\n"
    )
    (checked,) = check(str(file))
    assert "is registered as a backend" in str(checked.findings[0])
    assert "derives from `sage_bench.methods.base.Method`" in str(checked.findings[0])


# ---- the verbs -----------------------------------------------------------------------------------
def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", *words], capture_output=True, text=True, timeout=300
    )


def test_the_verb_prints_a_paragraph_a_mistake_and_leaves_with_2(tmp_path):
    file = written(tmp_path, MISTAKES["returns nothing"][0])
    done = run("check", str(file))
    assert done.returncode == 2
    head, *paragraphs = done.stdout.strip().split("\n\n")
    assert head == f"mine ({file}:{CLASS_LINE}): 1 mistake"
    assert len(paragraphs) == 1
    assert "Seen when all answers are wrong and when all answers are right" in paragraphs[0]
    assert "Traceback" not in done.stderr


def test_the_verb_has_json_and_leaves_with_0_when_nothing_is_wrong():
    done = run("check", str(ROOT / "examples/last_hint.py"), "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["ok"]
    assert [b["backend"] for b in document["backends"]] == ["last_hint"]
    assert document["backends"][0]["findings"] == []


def test_the_verb_takes_switches_and_nothing_else(tmp_path):
    done = run("check", str(written(tmp_path, "pass")), "optim.lr=1")
    assert done.returncode == 2
    assert "only method.NAME=VALUE" in done.stderr


def test_training_says_it_in_one_paragraph_too(tmp_path):
    file = written(tmp_path, MISTAKES["advantage of a wrong length"][0])
    words = ["--backend-file", str(file), "--backend", "mine", "--model", "tiny-llama"]
    words += ["--data", "tiny", "--out", str(tmp_path / "run"), "-q", "train.steps=1"]
    words += ["train.prompts_per_step=2", "validation.source=null", "sampling.max_tokens=8"]
    done = run("train", *words)
    assert done.returncode == 2
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert re.search(rf"{re.escape(str(file))}:\d+: backend `mine`, `credit` \(problem `", line)
    assert "step 0)" in line
    assert "Traceback" not in done.stderr


def test_a_tensor_in_the_state_is_refused_when_it_is_saved_and_not_found_at_resume(tmp_path):
    file = written(tmp_path, MISTAKES["a tensor in the state"][0])
    words = ["--backend-file", str(file), "--backend", "mine", "--model", "tiny-llama"]
    words += ["--data", "tiny", "--out", str(tmp_path / "run"), "-q", "train.steps=1"]
    words += ["train.prompts_per_step=2", "validation.source=null", "sampling.max_tokens=8"]
    done = run("train", *words)
    assert done.returncode == 2
    assert "backend `mine`, `state_dict`" in done.stderr
    assert "which JSON does not keep" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_name_is_a_file_that_is_not_there():
    with pytest.raises(UsageError, match="no such file"):
        check("no_such_backend")
