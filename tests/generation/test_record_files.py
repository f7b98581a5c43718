"""A damaged record: what can be used is used, what cannot is named, nothing ends in a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sage_bench.generation.recorded.files import ABOUT, About, Ending, step_file, write_step
from sage_bench.generation.recorded.record import Record
from sage_bench.generation.recorded.rows import DIGEST, Draw, digest_of, from_line, to_line
from sage_bench.types import Completion, Problem, Sampling
from sage_bench.utils.errors import SageBenchError


def a_draw(number: int) -> Draw:
    return Draw(
        step=0,
        key=(0, f"p{number}", 0),
        problem=Problem(f"p{number}", "1+1=?", "1+1=2", "2", {"level": 3}),
        prompt=(5, 6, 7),
        params=Sampling(1.0, 1.0, 8),
        completions=[Completion((8, 9), torch.tensor([-0.5, -0.25]), "stop")] * 2,
        seeds=[1, 2],
        weights="w",
        rewards=[0.0, 1.0],
        status=["correct", "wrong"],
        kept=True,
    )


DRAWS = [a_draw(number) for number in range(3)]
LINES = [to_line(draw) for draw in DRAWS]


def described(folder: Path, **fields: Any) -> None:
    About("grpo", {"weights": "w"}, {}, "robust", "d", "1").write(folder)
    if fields:
        file = folder / ABOUT
        file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A record of three draws, written anew by every example."""
    made = tmp_path_factory.mktemp("record")
    described(made)
    write_step(made, Ending(0, len(DRAWS)), DRAWS)
    return made


def test_a_record_is_read_as_it_was_written(folder):
    described(folder)
    write_step(folder, Ending(0, len(DRAWS)), DRAWS)
    record = Record.open(folder)
    assert not record.rejected
    for draw in DRAWS:
        read = record.load(draw.key)
        assert to_line(read) == to_line(draw)
        assert all(
            torch.equal(a.logp, b.logp)
            for a, b in zip(read.completions, draw.completions, strict=True)
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


@given(st.one_of(JSON.map(json.dumps).map(str.encode), st.binary(max_size=30)))
def test_a_line_of_anything_leaves_the_other_draws(folder, text):
    """In the place of the second of three lines."""
    text = text.replace(b"\n", b" ").replace(b"\r", b" ")
    first, _, third = (json.dumps(line).encode() for line in LINES)
    end = json.dumps({"end": {"step": 0, "draws": 3, "state": {}}}).encode()
    step_file(folder, 0).write_bytes(b"\n".join([first, text, third, end]) + b"\n")
    record = Record.open(folder)
    assert (0, "p0", 0) in record.places
    assert (0, "p1", 0) not in record.places
    if text.strip():
        assert any(row.where.endswith(":2") for row in record.rejected)


PLACES = [
    *[(name,) for name in LINES[0] if name != DIGEST],
    *[("problem", name) for name in LINES[0]["problem"]],
    *[("params", name) for name in LINES[0]["params"]],
    *[("completions", 0, name) for name in LINES[0]["completions"][0]],
    *[("key", number) for number in range(3)],
]


@given(st.sampled_from(PLACES), JSON)
def test_a_value_of_another_kind_is_named_though_its_digest_is_right(at, value):
    line = json.loads(json.dumps(LINES[1]))
    owner = line
    for part in at[:-1]:
        owner = owner[part]
    before = owner[at[-1]]
    owner[at[-1]] = value
    line[DIGEST] = digest_of(line)
    try:
        draw = from_line(line, "here")
    except ValueError as error:
        known = "it is not a draw of this format", "log-probabilities", "completions have"
        assert any(reason in str(error) for reason in known)
        assert type(value) is not type(before) or value != before
    else:
        hash(draw.key)
        assert json.dumps(to_line(draw)) == json.dumps({**line, DIGEST: to_line(draw)[DIGEST]})


@pytest.mark.parametrize("key", [[0, [], 1], {}, "p1", [0, "p1"], [None, None, None]])
def test_a_key_that_is_none_is_set_aside(folder, key):
    line = {**LINES[1], "key": key}
    file = step_file(folder, 0)
    end = {"end": {"step": 0, "draws": 2, "state": {}}}
    file.write_text("".join(json.dumps(one) + "\n" for one in (LINES[0], line, end)))
    record = Record.open(folder)
    assert list(record.places) == [(0, "p0", 0)]
    assert len(record.rejected) == 1
    assert "do not belong together" in record.rejected[0].reason


@pytest.mark.parametrize("field", ["backend", "policy", "configuration", "grader", "data"])
@given(value=JSON)
def test_a_description_of_anything_is_read_or_named(folder, field, value):
    write_step(folder, Ending(0, len(DRAWS)), DRAWS)
    described(folder, **{field: value})
    try:
        about = Record.open(folder).about
    except SageBenchError as error:
        assert ABOUT in str(error)
    else:
        assert isinstance(about.policy, dict)
        assert isinstance(about.configuration, dict)
        assert isinstance(about.backend, str)
