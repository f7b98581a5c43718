"""The comparison of the oat grader (SAGE's evaluation grader), from docs/design/sage.md 4.2.

String, then sympy, then math-verify. It is lenient and has false positives (`a+b` for `c+b`, 50 %
for 0.5, any unit for any other). It is here because published tables were made with it; judge new
results with `robust`. Runs in a worker process: sympy may hang.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from sage_bench.grading.worker import Reply, cpu_alarm

# The published list is made of physical units, bare letters and everyday words; the last two are
# where the false positives come from.
_LETTERS = "a c d g h l m o s t"
_WORDS = "are by less men more no_change number per prime pure ratio square unit"
_LENGTHS = "centimeter cm feet foot ft inch kilometer km meter mile millimeter mm yard"
_OTHERS = (
    "acre cent cubic day deg degree dollar gallon gram hectare hour kg kilogram kmph kph lb liter"
    " litre minute ml month mph ounce percent pint point pound quart radian revolution second sq_ft"
    " sq_in sq_m step ton tonne volt watt week year"
)
_UNITS = sorted(
    {u.replace("_", " ") for u in f"{_LETTERS} {_WORDS} {_LENGTHS} {_OTHERS}".split()},
    key=len,
    reverse=True,
)
_UNIT = re.compile(r"(^|\W)(?:" + "|".join(f"{re.escape(u)}s?" for u in _UNITS) + r")($|\W)")
_DROPPED = (
    "degree cm centimeter meter mile second minute hour day week month year foot feet inch yard"
).split()
_DROP = re.compile(rf"({'|'.join(_DROPPED)})(es)?(s)? *(\^[0-9]+)?")
_SCALE = {"million": "*10^6", "billion": "*10^9", "trillion": "*10^12"}


def boxed(text: str) -> str | None:
    r"""The published extraction: from the last `\boxed` to where the braces balance.

    It must begin with `\boxed{` and end with `}`.

    >>> boxed(r"\boxed{5} and \boxed{\frac{1}{2}}"), boxed(r"\boxed{5}, finally \boxed{5")
    ('\\frac{1}{2}', None)
    >>> boxed(r"\boxed {5}")
    """
    start = text.rfind("\\boxed")
    if start < 0:
        return None
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if text[i] == "}" and depth == 0:
            inside = text[start : i + 1]
            return inside[len("\\boxed{") : -1] if inside.startswith("\\boxed{") else None
    return None


def mathd(text: str) -> str:
    r"""Step A's spelling: strings equal after it are the same answer.

    >>> mathd(r"x = 0.5"), mathd(r"5 \text{ cm}"), mathd(r"\dfrac12"), mathd("a+b"), mathd("3/4")
    ('\\frac{1}{2}', '5', '\\frac{1}{2}', '+b', '\\frac{3}{4}')
    """
    text = text.strip()
    m = re.fullmatch(r"\\text\{(.+?)\}", text)
    try:
        return _mathd(m[1].strip() if m else text)
    except ValueError:
        return text


def _mathd(s: str) -> str:
    s = s.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    s = re.sub(r"(begin|end)\{(?:array|bmatrix)\}(?:\{[a-z|]*\})?", r"\1{pmatrix}", s)
    s = (
        s.replace("tfrac", "frac")
        .replace("dfrac", "frac")
        .replace("\\neq", "\\ne")
        .replace("\\leq", "\\le")
        .replace("\\geq", "\\ge")
    )
    s = s.replace("\\left", "").replace("\\right", "")
    cut = re.sub(r"\\text\{.*?\}$", "", s, flags=re.S).strip()
    s = cut or s
    for _ in range(2):
        bare = _UNIT.sub(r"\1\2", s)
        s = bare or s
    s = s.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    if "\\text{ " in s:
        # ValueError unless there is exactly one: the caller keeps the text as it was
        s, _ = s.split("\\text{ ")
    s = s.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not s:
        return s
    s = "0" + s if s[0] == "." else s
    if s.count("=") == 1 and len(s.split("=")[0].strip()) <= 2:
        s = s.split("=")[1]
    s = re.sub(r"\\sqrt([^{\s])", r"\\sqrt{\1}", s).replace(" ", "")
    s = re.sub(r"\\frac([^{}\\])([^{}\\])", r"\\frac{\1}{\2}", s)
    s = re.sub(r"\\frac([^{}\\])(?=\{)", r"\\frac{\1}", s)
    s = "\\frac{1}{2}" if s == "0.5" else s
    m = re.fullmatch(r"(-?\d+)/(-?\d+)", s)
    if m and all(str(int(g)) == g for g in m.groups()):
        return f"\\frac{{{m[1]}}}{{{m[2]}}}"
    return s


def plain(text: str) -> str:
    r"""Step B's spelling: LaTeX to text, units and scale words gone, lower case.

    >>> plain(r"2\frac{3}{4}"), plain(r"50\%"), plain(r"\text{Yes}")
    ('2+3/4', '50', 'yes')
    >>> plain("3 million"), plain("5.0"), plain("1,234")
    ('3*10^6', '5', '1234')
    """
    m = re.fullmatch(r"\\text\{(.+?)\}", text)
    s = (
        (m[1] if m else text)
        .replace("\\%", "%")
        .replace("\\$", "$")
        .replace("$", "")
        .replace("%", "")
    )
    s = s.replace(" or ", " , ").replace(" and ", " , ")
    for word, power in _SCALE.items():
        s = s.replace(word, power)
    s = _DROP.sub("", s)
    s = re.sub(r"\^ *\\circ", "", s)
    if s.startswith("{") and s.endswith("}"):
        s = s[1:-1]
    s = s.replace(",\\!", "")
    s = _whole(s) or s
    if "\\" in s:
        s = _latex_to_text(s)
    s = s.replace("- ", "-")
    s = (
        re.sub(r"([0-9]) +([0-9])", r"\1+\2", s)
        .replace(" ", "")
        .replace("{", "")
        .replace("}", "")
        .lower()
    )
    if "," in s and not _THOUSANDS.fullmatch(s):
        return s
    whole = _whole(s.replace(",", ""))
    return s if whole is None else whole


_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.0*)?")


def _float(s: str) -> float | None:
    try:
        v = float(s)
    except ValueError:
        return None
    return v if abs(v) < 1e15 and "n" not in s.lower() else None


def _whole(s: str) -> str | None:
    """A number that is whole up to rounding errors, without decimals."""
    value = _float(s)
    return str(round(value)) if value is not None and abs(value - round(value)) <= 1e-7 else None


def _latex_to_text(s: str) -> str:
    from pylatexenc.latex2text import LatexNodes2Text

    s = s.replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac").replace("\\frac", " \\frac")
    s = LatexNodes2Text().latex_to_text(s)
    for a, b in (("√", "sqrt"), ("π", "pi"), ("∞", "inf"), ("∪", "U"), ("·", "*"), ("×", "*")):
        s = s.replace(a, b)
    return s.strip()


def by_sympy(gold: str, answer: str) -> bool:
    """Step B, element by element.

    Strings, simple fractions, whole numbers, then sympy's simplify of the difference.
    """
    gold, answer = plain(gold), plain(answer)
    if gold == answer:
        return True
    if not answer:
        return False
    golds, answers = _elements(gold), _elements(answer)
    if len(golds) != len(answers):
        return False
    same_brackets = gold[0] == answer[0] and gold[-1] == answer[-1]
    if len(golds) > 1 and not same_brackets:
        return False
    return all(_same_element(g, a) for g, a in zip(golds, answers, strict=True))


def _elements(s: str) -> list[str]:
    if len(s) > 2 and s[0] in "([" and s[-1] in ")]" and not any(c in s[1:-1] for c in "()[]"):
        return [e.strip() for e in s[1:-1].split(",")]
    return [s]


_SIMPLE = re.compile(r"-?[0-9]+.?/0*[1-9][0-9]*.?")


def _same_element(g: str, a: str) -> bool:
    if _SIMPLE.fullmatch(g) and _SIMPLE.fullmatch(a):
        return g == a
    if _is_whole(g) != _is_whole(a):
        return False
    return _attempt(g) and _attempt(a) and _difference_is_zero(g, a)


def _is_whole(s: str) -> bool:
    return (v := _float(s.replace(",", ""))) is not None and v == int(v)


# what no formula needs and an evaluated text could abuse: attributes and names of Python's own
_PYTHON = re.compile(r"(?<![0-9])\.\s*[^\W\d]|__")


def _attempt(s: str) -> bool:
    """Is it simple enough to be worked out: two letters, small powers?

    sympy evaluates the text as Python does, which reads a small Roman numeral as the letter it
    looks like: letters are counted as Python will read them.

    >>> _attempt("2x+1"), _attempt("().__\u217d\u217cass__")
    (True, False)
    """
    s = unicodedata.normalize("NFKC", s)
    if _PYTHON.search(s):
        return False
    letters = {c for c in s.replace("sqrt", "").replace("frac", "") if c.isalpha()}
    if len(letters) > 2 or "^{" in s or "^(" in s:
        return False
    return not re.search(r"\^[0-9]+\^|\^[0-9][0-9]+", s)


def _difference_is_zero(g: str, a: str) -> bool:
    import sympy
    from sympy.parsing.sympy_parser import (
        implicit_multiplication_application,
        parse_expr,
        standard_transformations,
    )

    try:
        text = f"({g})-({a})".replace("^", "**")
        difference = parse_expr(
            text, transformations=(*standard_transformations, implicit_multiplication_application)
        )
        return bool(sympy.simplify(difference) == 0)
    except Exception:  # noqa: BLE001  # sympy raises anything; the released code says no
        return False


def repetitive(s: str) -> bool:
    """Does a long string repeat itself?

    The longest common prefix of neighbouring suffixes is over 20 % of it.
    """
    if len(s) <= 128:
        return False
    s = s[:4000]  # what follows is quadratic
    suffixes = sorted(range(len(s)), key=lambda i: s[i:])
    longest = 0
    for i, j in pairwise(suffixes):
        n = 0
        while i + n < len(s) and j + n < len(s) and s[i + n] == s[j + n]:
            n += 1
        longest = max(longest, n)
    return longest / len(s) > 0.2


def by_math_verify(gold: str, answer: str) -> bool:
    """Step C: under one second of processor time, unless the answer is a long repetition."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    if repetitive(answer) or repetitive(gold):
        return False
    if mathd(gold) == mathd(answer):
        return True
    # extraction_mode stays any_match: the recorded vectors 82, 105 and 177 need it
    how = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
    try:
        with cpu_alarm(1):
            a, b = (
                parse(_in_dollars(t), how, fallback_mode="no_fallback", parsing_timeout=None)
                for t in (gold, answer)
            )
            return bool(verify(a, b, timeout_seconds=None))
    except Exception:  # noqa: BLE001  # math-verify raises anything; the released code says no
        return False


def _in_dollars(text: str) -> str:
    return text if "$" in text else f"${text}$"


def equivalent(gold: str, answer: str, fast: bool = False) -> Reply:
    """The three steps; `fast` leaves out the third."""
    correct = mathd(gold) == mathd(answer) or by_sympy(gold, answer)
    if not correct and not fast:
        correct = by_math_verify(gold, answer)
    return {"correct": correct, "status": "ok"}


def equivalent_fast(gold: str, answer: str) -> Reply:
    """`equivalent` without math-verify."""
    return equivalent(gold, answer, fast=True)
