"""Token weights of a few responses, as coloured text: which tokens were made responsible for the
answer.

Runs whose method weighs tokens keep, for some groups of a step, (text, weight) of every token in
`completions.jsonl`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Any

from jinja2 import Environment

from sage_bench.utils.files import read_jsonl

MOST = 6  # responses a run
LONGEST = 1500  # tokens of a response that are shown
FULL = 2.0  # |log2 weight| of the strongest colour: a quarter, or four times the advantage
LEGEND = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Span:
    """One token. side: "up" (weighs more than 1), "down" (less) or "" (1). strength: of the colour,
    0 to 1."""

    text: str
    weight: float
    side: str
    strength: float


@dataclass(frozen=True)
class Response:
    """One response of a training run. facts: among them (sum w)^2 / (L sum w^2), 1 when all tokens
    weigh alike. hidden: tokens not shown."""

    title: str
    facts: str
    spans: Sequence[Span]
    hidden: int


def span(text: str, weight: float) -> Span:
    """Colours diverge around 1 on a logarithmic scale: half and double are equally strong.

    >>> span("7", 2.0), span(" ", 0.5).strength, span("x", 0.0).strength
    (Span(text='7', weight=2.0, side='up', strength=0.5), 0.5, 1.0)
    """
    log = log2(max(weight, 2.0**-10))
    side = "up" if log > 0 else "down"
    strength = round(min(1.0, abs(log) / FULL), 3)
    return Span(text, weight, "" if weight == 1 else side, strength)


def responses(folder: Path, most: int = MOST) -> list[Response]:
    """Weighted responses of a training run, spread over its steps, right and wrong ones side by
    side; empty where no method weighs tokens.

    A response all of whose tokens weigh 1 (it has no answer to probe) shows nothing and is left
    out.
    """
    groups = [r for r in read_jsonl(folder / "completions.jsonl") if r.get("weights")]
    found: list[Response] = []
    for row in spread(groups, (most + 1) // 2):
        found += [_response(row, i) for i in _right_and_wrong(row)]
    return found[:most]


def spread(rows: Sequence[Any], most: int) -> list[Any]:
    """At most that many of the rows, evenly from first to last.

    >>> spread("abcdefg", 3), spread("ab", 3), spread("abc", 1)
    (['a', 'd', 'g'], ['a', 'b'], ['a'])
    """
    if len(rows) <= most:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / max(most - 1, 1))] for i in range(most)]


def _right_and_wrong(row: Mapping[str, Any]) -> list[int]:
    """One right and one wrong response of a group, of those with weights that differ."""
    uneven = [i for i, w in enumerate(row["weights"]) if any(x != 1 for _, x in w)]
    right = [i for i in uneven if row["completions"][i]["reward"] > 0]
    wrong = [i for i in uneven if row["completions"][i]["reward"] <= 0]
    return right[:1] + wrong[:1]


def _response(row: Mapping[str, Any], i: int) -> Response:
    tokens = row["weights"][i]
    w = [x for _, x in tokens]
    effective = sum(w) ** 2 / (len(w) * sum(x * x for x in w)) if any(w) else 0.0
    verdict = "right" if row["completions"][i]["reward"] > 0 else "wrong"
    facts = (
        f"{verdict}, answer {row['answer']}; {len(w)} tokens, weights {min(w):.2f} to {max(w):.2f},"
        f" effective share {effective:.2f}"
    )
    return Response(
        f"step {row['step']}, {row['uid']}, response {i + 1}",
        facts,
        [span(t, x) for t, x in tokens[:LONGEST]],
        max(0, len(w) - LONGEST),
    )


# ---- the section of report.html ------------------------------------------------------------------
SECTION = """\
<style>
  :root { --up: 232 119 34; --down: 56 128 217; --most: .75; }
  @media (prefers-color-scheme: dark) { :root { --up: 224 105 16; --down: 40 120 220; --most: .6; } }
  .tokens { font: 14px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; margin: 4px 0 14px; }
  .up, .down { border-radius: 3px; padding: 2px 0; } .legend .up, .legend .down, .legend .even { padding: 2px 9px; color: var(--ink); }
  .up { background: rgb(var(--up) / calc(var(--s) * var(--most))); } .down { background: rgb(var(--down) / calc(var(--s) * var(--most))); }
</style>
{% macro token(t, more="") %}<span{% if t.side %} class="{{ t.side }}" style="--s:{{ t.strength }}"{% elif more %} class="{{ more }}"{% endif %} title="weight {{ "%.3f" | format(t.weight) }}">{{ t.text }}</span>{% endmacro %}
<h2>Token weights</h2>
<p>How a response's advantage is spread over its tokens: 1 is an even share. Point at a token for its number.</p>
<p class="legend">{% for t in legend %}{{ token(t, "even") }} {% endfor %} times the even share; stronger ones look like the ends</p>
{% for name, found in weighted %}
{% for r in found %}
<h3>{{ name }}: {{ r.title }}</h3>
<p>{{ r.facts }}</p>
<div class="tokens">{% for t in r.spans %}{{ token(t) }}{% endfor %}</div>
{% if r.hidden %}<p>{{ r.hidden }} more tokens are not shown.</p>{% endif %}
{% endfor %}
{% endfor %}
"""  # noqa: E501


def section(runs: Mapping[str, Path]) -> str:
    """The section of the report on the token weights of some runs; empty where none has any."""
    weighted = [(name, found) for name, folder in runs.items() if (found := responses(folder))]
    if not weighted:
        return ""
    legend = [span(f"{w:g}", w) for w in LEGEND]
    template = Environment(autoescape=True).from_string(SECTION)
    return template.render(weighted=weighted, legend=legend)
