"""Chat templates: the same prompt on every day, options that travel with weights, errors that name
the template."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from evaluating import evaluate

from sage_bench.api.evaluation import sampler_options
from sage_bench.config.evaluation import EvalConfig
from sage_bench.config.models import preset_template
from sage_bench.generation import chat, model_folders
from sage_bench.generation.chat import DATE, pin_date
from sage_bench.generation.model_folders import template_options_of
from sage_bench.generation.prompts import Renderer
from sage_bench.generation.samplers.hf import Hf
from sage_bench.utils.errors import ModelError, UsageError

CHAT = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
# the head of Llama 3.2's template
LLAMA = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    '{%- set date_string = strftime_now("%d %b %Y") %}'
    '{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}{%- endif %}'
    "Today Date: {{ date_string }}\n"
)
CLOCK_ONLY = '{{ strftime_now("%Y-%m-%d") }}\n'
THINKING = "{% if enable_thinking is defined and not enable_thinking %}<no thinking>{% endif %}"
BODY = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"


@pytest.fixture
def folder(packaged, tmp_path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(packaged, copy)
    return copy


def with_template(folder: Path, template: str) -> str:
    (folder / "chat_template.jinja").write_text(template)
    return str(folder)


@pytest.fixture
def tomorrow(monkeypatch):
    """A clock of transformers that says another day."""
    import transformers.utils.chat_template_utils as utils

    class Later(utils.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 2, 3)

    def change():
        monkeypatch.setattr(utils, "datetime", Later)
        utils._compile_jinja_template.cache_clear()

    return change


@pytest.mark.parametrize("head", [LLAMA, CLOCK_ONLY], ids=["date_string", "clock"])
def test_w7_a_prompt_is_the_same_tomorrow(head, folder, tomorrow):
    path = with_template(folder, head + BODY)
    today = Hf(path)
    before = today.render(CHAT)
    tomorrow()
    after = Hf(path)
    assert after.render(CHAT) == before
    assert after.fingerprint() == today.fingerprint()
    assert "2031" not in before


def test_w7_the_pinned_date_is_written_and_is_part_of_the_fingerprint(folder):
    path = with_template(folder, LLAMA + BODY)
    pinned = Hf(path)
    other = Hf(path, template={"date_string": "01 Jan 2025"})
    assert f"Today Date: {DATE}" in pinned.render(CHAT)
    assert "Today Date: 01 Jan 2025" in other.render(CHAT)
    assert pinned.fingerprint()["template_options"] == {"date_string": DATE}
    assert pinned.fingerprint() != other.fingerprint()


def test_w7_a_template_without_a_date_gets_none(packaged):
    assert Hf(packaged).fingerprint()["template_options"] == {}
    assert pin_date(Hf(packaged).renderer.template) == {}


def test_w7_the_llama_preset_pins_its_date():
    assert preset_template("llama-3.2-3b-instruct") == {"date_string": DATE}
    assert preset_template("tiny-llama") == {}
    config = EvalConfig.model_validate({"model": {"path": "llama-3.2-3b-instruct"}})
    assert sampler_options(config)["template"] == {"date_string": DATE}


def test_w7_a_date_nobody_can_read_is_a_usage_error(folder):
    sampler = Hf(with_template(folder, CLOCK_ONLY + BODY), template={"date_string": "soon"})
    with pytest.raises(UsageError, match=rf"date_string: `soon` is not a date.*{DATE}"):
        sampler.render(CHAT)


# ---- options travel ------------------------------------------------------------------------------
def trained_with(folder: Path, **options) -> str:
    label = json.loads((folder / "sage_bench.json").read_text())
    (folder / "sage_bench.json").write_text(json.dumps(label | {"template_options": options}))
    return with_template(folder, THINKING + BODY)


@pytest.fixture
def warnings(monkeypatch):
    model_folders._warn_once.cache_clear()
    said: list[str] = []

    class Screen:
        def print(self, text, **_):
            said.append(text)

    monkeypatch.setattr(model_folders, "stderr", Screen)
    return said


def test_w8_a_checkpoint_is_evaluated_with_the_options_it_was_trained_with(folder, warnings):
    sampler = Hf(trained_with(folder, enable_thinking=False))
    assert sampler.render(CHAT).startswith("<no thinking>")
    assert sampler.fingerprint()["template_options"] == {"enable_thinking": False}
    assert not warnings


def test_w8_other_options_are_taken_with_a_warning(folder, warnings):
    path = trained_with(folder, enable_thinking=False)
    sampler = Hf(path, template={"enable_thinking": True})
    assert not sampler.render(CHAT).startswith("<no thinking>")
    assert len(warnings) == 1
    assert "enable_thinking: False then, True now" in warnings[0]


def test_w8_an_option_the_training_did_not_have_is_a_difference(folder, warnings):
    path = trained_with(folder)
    assert template_options_of(path, {"enable_thinking": False}) == {"enable_thinking": False}
    assert "enable_thinking: not set then, False now" in warnings[0]


def test_w8_a_model_we_did_not_train_has_nothing_to_differ_from(folder, warnings):
    assert template_options_of(str(folder), {"enable_thinking": False}) == {
        "enable_thinking": False
    }
    assert not warnings


def test_w8_options_are_part_of_what_an_evaluation_is(folder, tmp_path):
    path = with_template(folder, THINKING + BODY)
    with_thought, without = Hf(path), Hf(path, template={"enable_thinking": False})
    folders = [
        evaluate(s, tmp_path / "out", "tiny_short:1", limit=1) for s in (with_thought, without)
    ]
    assert folders[0] != folders[1]


# ---- broken templates ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m['content'] }", r"TemplateSyntaxError.*line 1"),
        ("{{ messages[0].content.nothing.at_all }}", "UndefinedError"),
        ("{{ raise_exception('no system role here') }}", "no system role here.*empty one"),
        ("{{ messages | nofilter }}", "nofilter"),
    ],
)
def test_f8_a_template_that_does_not_render_is_named_in_one_paragraph(template, said, folder):
    sampler = Hf(with_template(folder, template))
    with pytest.raises(ModelError, match=said) as caught:
        sampler.render(CHAT)
    assert "its chat template does not render a chat of system, user" in str(caught.value)
    assert "--chat-template FILE" in str(caught.value)


def test_a_sandboxed_template_reaches_no_python_objects(folder):
    escape = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(ModelError, match="SecurityError"):
        Hf(with_template(folder, escape)).render(CHAT)


def test_training_and_evaluation_render_alike(folder):
    path = with_template(folder, LLAMA + BODY)
    sampler = Hf(path)
    assert Renderer(sampler.policy.tokenizer).chat(CHAT) == sampler.render(CHAT)
    assert chat.render_chat(sampler.policy.tokenizer, CHAT) == sampler.render(CHAT)
