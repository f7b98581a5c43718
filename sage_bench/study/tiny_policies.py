"""Make the tiny policies: three architectures, taught the world, then made to doubt one operator.

A policy knows one world's operators and chains a little longer than those it is trained on.

Stage 1 (competence) teaches unhinted answers, hinted answers and hint writing until all three are
right. Stage 2 (doubt) repeats the same tasks for a few small steps with most results of `*`
replaced by random digits. That sets the chance q of a right `*` when sampling, and with it a
graded, calibrated difficulty q^stars; hint following and hint writing stay. What is learned of `*`
under a hint is the same fact without one, so it transfers. (`Recipe.noise`: how much each policy
doubts.)

Everything goes through the learner that trains the 7B models: rows of kind CE.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from sage_bench.config.schema import OptimConfig
from sage_bench.data.tiny_world import FIRST, SECOND, Chain, Operators, chain
from sage_bench.engines.local.learner import Learner
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.model_folders import LABEL
from sage_bench.generation.prompts import Renderer
from sage_bench.methods.objective import Objective
from sage_bench.methods.registry import BACKENDS
from sage_bench.types import Kind, Row
from sage_bench.utils.files import share, write_json

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if"
    " add_generation_prompt %}<|assistant|>{% endif %}"
)
# endoftext is the unknown token of Qwen2Tokenizer
SPECIALS = ["<|pad|>", "<|end|>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>"]
COMPETENCE = OptimConfig(
    lr=1.5e-3, betas=(0.9, 0.98), schedule="cosine", warmup_ratio=0.08, min_lr_ratio=0.05
)
DOUBT = OptimConfig(lr=5e-4, weight_decay=0.0)
Example = tuple[tuple[str, str], str]  # ((system, user), answer)
Mix = Callable[[random.Random, Renderer], Example]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one policy is made.

    noise: share of the doubted operator's results that are random digits in stage 2, i.e. how much
    it doubts. longest: steps of the longest chain it is taught.
    """

    name: str
    family: str
    noise: float
    hidden: int = 128
    layers: int = 3
    competence_steps: int = 2000
    doubt_steps: int = 100
    seed: int = 0
    operators: Operators = FIRST
    longest: int = 9


RECIPES = {
    r.name: r
    for r in (
        Recipe("tiny-llama", "llama", 0.9),
        Recipe("tiny-qwen2", "qwen2", 0.85),
        Recipe("tiny-qwen3", "qwen3", 0.85),
        # of the second world; the numbers of tiny-llama, none was tried
        Recipe("tiny2-llama", "llama", 0.9, operators=SECOND, longest=11),
    )
}


def hint_json(c: Chain) -> str:
    """The three hint levels in the form that SAGE's hint prompt asks for."""
    return json.dumps({f"level_{i}": h for i, h in enumerate(c.hints, 1)})


def form(rng: random.Random) -> str:
    """How the steps of an answer are laid out; benchmarks test all three."""
    return rng.choices(("plain", "spaced", "lines"), (0.8, 0.1, 0.1))[0]


def competence(recipe: Recipe) -> Mix:
    """45 % unhinted (3 % of them longer than three steps), 30 % hinted, 25 % hint writing."""

    def mix(rng: random.Random, renderer: Renderer) -> Example:
        kind = rng.random()
        if kind < 0.45:
            length = rng.randint(4, recipe.longest) if rng.random() < 0.03 else rng.randint(1, 3)
            c = drawn(length, rng)
            return renderer.answer_user(c.question), c.solution
        if kind < 0.75:
            length = rng.randint(1, recipe.longest)
            c = drawn(length, rng)
            # the weakest hint of a long chain helps little: it is shown less often
            level = rng.choice((0, 1, 2) if length <= 3 else (0, 1, 1, 1, 2, 2, 2))
            return renderer.answer_user(c.question, c.hints[level]), c.solution
        c = drawn(rng.randint(1, recipe.longest), rng)
        return hint_messages(renderer, c), hint_json(c)

    def drawn(length: int, rng: random.Random) -> Chain:
        return chain(rng, length, 1 / 3, form(rng), operators=recipe.operators)

    return mix


def doubting(recipe: Recipe) -> Mix:
    """The mix of stage 2: 40 % unhinted, 35 % hinted, 25 % hint writing, all with noise."""

    def mix(rng: random.Random, renderer: Renderer) -> Example:
        kind = rng.random()
        length = rng.randint(1, recipe.longest - 1)
        c = chain(rng, length, 0.7, form(rng), recipe.noise, recipe.operators)
        if kind < 0.4:
            return renderer.answer_user(c.question), c.solution
        if kind < 0.75:
            return renderer.answer_user(c.question, rng.choice(c.hints)), c.solution
        return hint_messages(renderer, c), hint_json(c)

    return mix


def hint_messages(renderer: Renderer, c: Chain) -> tuple[str, str]:
    """(system, user) that ask for the hints of a chain."""
    BACKENDS.names()  # the backend that has hints written brings their prompt
    user = renderer.fill("hint_user", question=c.question.strip(), solution=c.solution.strip())
    return renderer.fill("hint_system"), user


def make_tokenizer(
    vocabulary: int = 768, examples: int = 4000, recipe: Recipe = RECIPES["tiny-llama"]
) -> PreTrainedTokenizerFast:
    """Byte-level BPE learned from the chats of the recipe's world.

    Digits stay single, so that numbers are spelled.

    The pipeline is Qwen2's: for its model types `AutoTokenizer` rebuilds that pipeline whatever
    tokenizer.json says.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    rng = random.Random("tiny tokenizer")
    renderer = Renderer(wrap(tokenizer))
    mix = competence(recipe)
    texts = []
    for _ in range(examples):
        (system, user), answer = mix(rng, renderer)
        texts += [system, user, answer]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return wrap(tokenizer)


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """A transformers tokenizer with our template.

    Only wrap what is trained: wrapping fixes the ids of special tokens.
    """
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.to_str()),
        pad_token="<|pad|>",
        eos_token="<|end|>",
        unk_token="<|endoftext|>",
        extra_special_tokens=SPECIALS[3:],
        chat_template=TEMPLATE,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def make_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Any:
    """A model of the recipe's family with random weights, the same for the same seed."""
    common: dict[str, Any] = dict(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=3 * recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(recipe.seed)
    if recipe.family == "llama":
        return LlamaForCausalLM(LlamaConfig(**common))
    if recipe.family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**common))
    return Qwen3ForCausalLM(Qwen3Config(**common, head_dim=recipe.hidden // 4))


def teach(
    policy: Policy,
    mix: Mix,
    steps: int,
    optim: OptimConfig,
    seed: int,
    batch: int = 32,
    offset: int = 0,
) -> Iterator[float]:
    """Cross-entropy on examples of a mix; yields the loss after every step."""
    rng = random.Random(seed)
    renderer = Renderer(policy.tokenizer)
    learner = Learner(policy, optim, total=steps, micro_tokens=1 << 15, prompt_once=False)
    for _ in range(steps):
        rows = []
        for i in range(batch):
            messages, answer = mix(rng, renderer)
            tokens = renderer.ids(answer) + (policy.tokenizer.eos_token_id,)
            prompt = renderer.ids(renderer.text(*messages))
            rows.append(Row(prompt, tokens, torch.ones(len(tokens)), str(i), Kind.CE))
        yield learner.update(rows, Objective())["loss"]


def build(
    recipe: Recipe, out: Path, report: Callable[[str, int, int, float], None] | None = None
) -> Policy:
    """Make one policy and save it to `out`, the policy before it doubts to `out/competent`.

    report(stage, step, steps, loss) is called after every step.
    """
    tokenizer = make_tokenizer(recipe=recipe)
    policy = Policy(make_model(recipe, tokenizer), tokenizer, str(out))
    stages = [
        ("competence", competence(recipe), recipe.competence_steps, COMPETENCE, out / "competent"),
        ("doubt", doubting(recipe), recipe.doubt_steps, DOUBT, out),
    ]
    for stage, mix, steps, optim, folder in stages:
        for done, loss in enumerate(teach(policy, mix, steps, optim, recipe.seed + 1), 1):
            if report:
                report(stage, done, steps, loss)
        save(policy, recipe, folder)
    return policy


def save(policy: Policy, recipe: Recipe, out: Path) -> None:
    """bf16, 1.4 MB; a run loads it as the number type it asks for."""
    model: Any = copy.deepcopy(policy.model)
    model.to(torch.bfloat16).save_pretrained(out)
    policy.tokenizer.save_pretrained(out)
    write_json(out / LABEL, {"preset": recipe.name})
    share(out)
