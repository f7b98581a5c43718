"""Reading the hints a policy writes: tolerant of form, strict about leaks. Pure functions of text.

The released parser (SAGE spec 1.4) hands LaTeX to a JSON reader, which silently turns `\\frac` into
a form feed and "rac". Ours protects backslashes that stand before LaTeX first, then reads strictly,
then falls back to looking for the keys one by one, so that a cut-off or slightly wrong object still
yields the levels that are whole.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

# LaTeX commands whose first letter is also a JSON escape (b f n r t u). `\nu` or a newline before
# "u"? In a hint about
# mathematics the command is the better guess; a newline before any word that is no command stays a
# newline.
_LATEX = frozenset(
    """bar bf big bigg bigl bigr binom bmatrix bmod boldsymbol bot bowtie boxed backslash because begin beta beth between bullet
    because flat forall frac frown footnotesize nabla natural ne nearrow neg neq newline ni nleq ngeq nmid not notin
    nparallel nolimits nonumber nsubseteq nu nwarrow raise ran rangle rbrace rbrack rceil re real rfloor rho right
    rightarrow rightharpoonup rightleftharpoons rm root tag tan tanh tau tbinom text textbf textit textrm textstyle tfrac
    therefore theta thinspace tilde times to top triangle triangledown triangleleft triangleright""".split()
)
_ESCAPE = re.compile(r'\\(?:(["\\/])|u[0-9a-fA-F]{4}|([A-Za-z]+)|(.)|$)', re.DOTALL)
_KEY = re.compile(r"""["']?\b(?:level|hint)[ _-]?(\d+)["']?\s*:\s*""", re.IGNORECASE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"|' + r"'((?:[^'\\]|\\.)*)'", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HintParse:
    """levels: one entry a level, None where a level is missing or blank. status: "ok", "partial"
    (some level missing), "repaired" (read key by key) or "unparsable" (no level at all)."""

    levels: tuple[str | None, ...]
    status: str

    @property
    def usable(self) -> bool:
        return any(self.levels)


def protect_latex(text: str) -> str:
    r"""Double the backslashes that are LaTeX and not JSON, so that a JSON reader keeps them.

    >>> print(protect_latex(r'"\frac{1}{2} \(x\) \pi \\theta \n \u00e9"'))
    "\\frac{1}{2} \\(x\\) \\pi \\theta \n \u00e9"
    """

    def fix(m: re.Match[str]) -> str:
        whole, word = m[0], m[2]
        if m[1] or (whole.startswith("\\u") and not word and len(whole) == 6):
            return whole  # \" \\ \/ and \u00e9 are JSON
        if m[3] == "'":
            return whole  # a quote inside a single-quoted string: the key-by-key reader knows it
        if word and word[0] in "bfnrt" and word not in _LATEX:
            return whole  # \n before a word: a line break
        return "\\" + whole

    return _ESCAPE.sub(fix, text)


def parse_hints(text: str, levels: int = 3) -> HintParse:
    r"""The hint levels in a model's answer.

    Accepts fenced and bare JSON, prose before and after, line breaks inside strings, a list around
    the object, single quotes, unquoted keys, trailing commas, comments and objects cut off at the
    end.

    >>> parse_hints('Sure! ```json\n{"level_1": "use \\frac{a}{b}", "level_2": "b", "level_3": "c"}\n``` Good luck').levels
    ('use \\frac{a}{b}', 'b', 'c')
    >>> parse_hints('{"level_1": "a", "level_2": "b').levels
    ('a', None, None)
    >>> parse_hints("no hints today").status
    'unparsable'
    """
    safe = protect_latex(text)
    decoder = json.JSONDecoder(strict=False)
    for start in (m.start() for m in re.finditer(r"\{", safe)):
        try:
            value, _ = decoder.raw_decode(safe, start)
        except ValueError:
            # prose with a brace, or JSON that is not quite: the next brace, then key by key
            continue
        found = _levels_of(value, levels)
        if any(found):
            return HintParse(found, "ok" if all(found) else "partial")
    by_key: dict[int, str] = {}
    for key in _KEY.finditer(safe):
        string = _STRING.match(safe, key.end())
        if string:
            raw = (
                string[1]
                if string[1] is not None
                else string[2].replace('"', '\\"').replace("\\'", "'")
            )
            try:
                by_key.setdefault(int(key[1]), json.loads(f'"{raw}"', strict=False))
            except ValueError:
                continue  # an escape no reader knows: this level is missing, the others stand
    found = tuple(by_key.get(k, "").strip() or None for k in range(1, levels + 1))
    return HintParse(found, "repaired" if any(found) else "unparsable")


def _levels_of(value: object, levels: int) -> tuple[str | None, ...]:
    if not isinstance(value, dict):
        return (None,) * levels
    named: dict[int, str] = {}
    for key, text in value.items():
        number = re.fullmatch(r"(?:level|hint)?[ _-]?(\d+)", str(key).strip(), re.IGNORECASE)
        if number and isinstance(text, str) and text.strip():
            named[int(number[1])] = text.strip()
    return tuple(named.get(k) for k in range(1, levels + 1))


def leaks_answer(hint: str, answer: str, question: str = "") -> bool:
    r"""True when the hint contains the final answer.

    Spaces, `$` and outer boxes do not matter. A number counts only where it stands alone ("12" is
    not in "120" or "1.12"). A single letter or digit run that already stands in the question is no
    news and does not count, unless the hint presents it as the answer (boxed, or after "answer
    is").

    >>> leaks_answer("so x = 12", "12"), leaks_answer("there are 120 ways", "12"), leaks_answer(r"\boxed{\frac12}", r"$\frac{1}{2}$")
    (True, False, False)
    >>> leaks_answer("halve the 8 apples", "8", question="8 apples ..."), leaks_answer("the answer is 8", "8", question="8 apples")
    (False, True)
    """
    boxed = re.fullmatch(r"\s*\\boxed\{(.*)\}\s*", answer, re.DOTALL)
    gold, text, asked = _plain(boxed[1] if boxed else answer), _plain(hint), _plain(question)
    if not gold:
        return False
    alone = (
        re.compile(r"(?<![\w.])" + re.escape(gold) + r"(?!\w|[.,]\d)")
        if re.fullmatch(r"[\w.+-]+", gold)
        else re.compile(re.escape(gold))
    )
    if not alone.search(text):
        return False
    told = re.search(r"(?:boxed\{|answer(?:is|:|=)+)" + re.escape(gold), text.replace(" ", ""))
    return bool(told) or not alone.search(asked)


def _plain(text: str) -> str:
    text = re.sub(
        r"\$|\\[,!;]|\\left|\\right|\\[td]?frac(?=\{)",
        lambda m: r"\frac" if "frac" in m[0] else "",
        text,
    )
    return re.sub(r"\s+", " ", text).strip().lower()


def new_numbers(hint: str, question: str) -> list[str]:
    """Numbers of the hint that are not in the question: intermediate results, most likely.

    >>> new_numbers("use the 3 sides, then 12", "3 sides")
    ['12']
    """
    asked = set(re.findall(r"\d+(?:\.\d+)?", question))
    return [n for n in re.findall(r"\d+(?:\.\d+)?", hint) if n not in asked]


def copies(hint: str, solution: str, n: int = 4) -> float:
    """Share of the hint's runs of n words that also stand in the solution.

    >>> copies("square both sides of it", "first square both sides of it, then")
    0.5
    """
    runs = [tuple(w[i : i + n]) for w in [hint.lower().split()] for i in range(len(w) - n + 1)]
    words = solution.lower().split()
    known = {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
    return sum(r in known for r in runs) / len(runs) if runs else 0.0
