"""The texts HINT puts before a model: asking for one abstract hint, and handing it over."""

from __future__ import annotations

from sage_bench.backends.sage.hints import HINT_USER
from sage_bench.generation.prompts import Messages, register_prompt, register_wording

META_HINT_SYSTEM = register_prompt(
    "meta_hint_system",
    """\
You are a teacher. You get a question and its solution. Write one hint of at most three sentences that names the concept, the \
strategy or the pitfall that matters. Use no number and no expression that is not in the question, no intermediate result, \
and never the answer. Reply with the hint and nothing else.""",  # noqa: E501
    "system message when one abstract hint is asked for (HINT)",
)
# the authors' wording of a hinted prompt (code at HEAD)
register_wording(
    "hint",
    "{question}\nHere are some key pieces of information to assist your reasoning without"
    " revealing the solution directly:\n{hint}",
)


def meta_hint_messages(messages: Messages, question: str, solution: str) -> tuple[str, str]:
    """(system, user) messages that ask for one abstract hint."""
    user = messages.fill(HINT_USER, question=question.strip(), solution=solution.strip())
    return messages.fill(META_HINT_SYSTEM), user
