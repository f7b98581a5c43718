"""Unicode as ASCII and LaTeX: models write `x² ≥ ½` as often as `x^2 \\ge \\frac12`."""

from __future__ import annotations

import unicodedata
from itertools import groupby

_SYMBOLS = {
    "−": "-",
    "–": "-",
    "—": "-",
    "‐": "-",
    "‑": "-",
    "×": "\\times ",
    "·": "\\cdot ",
    "⋅": "\\cdot ",
    "∙": "\\cdot ",
    "•": "\\cdot ",
    "÷": "\\div ",
    "∞": "\\infty ",
    "≤": "\\le ",
    "⩽": "\\le ",
    "≥": "\\ge ",
    "⩾": "\\ge ",
    "≠": "\\ne ",
    "≈": "\\approx ",
    "±": "\\pm ",
    "∓": "\\mp ",
    "√": "\\sqrt ",
    "∛": "\\sqrt[3]",
    "∪": "\\cup ",
    "∩": "\\cap ",
    "∈": "\\in ",
    "∅": "\\emptyset ",
    "Ø": "\\emptyset ",
    "°": "^\\circ ",
    "º": "^\\circ ",
    "…": "\\ldots ",
    "⋯": "\\ldots ",
    "′": "'",
    "″": "''",
    "’": "'",
    "‘": "'",
    "“": " ",
    "”": " ",
    "∠": "\\angle ",
    "△": "\\triangle ",
    "ℝ": "\\mathbb{R}",
    "ℤ": "\\mathbb{Z}",
    "ℕ": "\\mathbb{N}",
    "ℚ": "\\mathbb{Q}",
    "⌊": "\\lfloor ",
    "⌋": "\\rfloor ",
    "⌈": "\\lceil ",
    "⌉": "\\rceil ",
    "→": "\\to ",
    "⇒": "\\implies ",
    "\u200b": "",
    "∖": "\\setminus ",
    "⟨": "\\langle ",
    "⟩": "\\rangle ",
    "∣": "|",
    "∶": ":",
    "¢": "«cents»",
    "‰": " permille ",
    "¬": "\\neg ",
    "∧": " and ",
    "∨": " or ",
    "∀": "\\forall ",
}
_GREEK_NAMES = {
    0x3B1: "alpha",
    0x3B2: "beta",
    0x3B3: "gamma",
    0x3B4: "delta",
    0x3B5: "epsilon",
    0x3B8: "theta",
    0x3BB: "lambda",
    0x3BC: "mu",
    0xB5: "mu",
    0x3C0: "pi",
    0x3C1: "rho",
    0x3C3: "sigma",
    0x3C4: "tau",
    0x3C6: "phi",
    0x3C8: "psi",
    0x3C9: "omega",
    0x394: "Delta",
    0x3A3: "Sigma",
    0x3A9: "Omega",
    0x3A6: "Phi",
    0x393: "Gamma",
}
_GREEK = {chr(code): f"\\{name} " for code, name in _GREEK_NAMES.items()}
# what Unicode says a character is made of, as the kind of run it belongs to
_RUNS = {"<super>": "^", "<sub>": "_", "<fraction>": "/", "<circle>": "circled"}


def plain_characters(text: str) -> str:
    r"""The text in ASCII and LaTeX; runs of super- and subscripts become one exponent or index.

    >>> plain_characters("x²⁰ ≥ ½"), plain_characters("①③")
    ('x^{20} \\ge   \\frac{1}{2}', '1, 3')
    """
    if text.isascii():
        return text
    return "".join(_run(kind, list(run)) for kind, run in groupby(text, _kind))


def _run(kind: str, characters: list[str]) -> str:
    """Neighbouring characters of one kind, rewritten together."""
    normal = [unicodedata.normalize("NFKC", c) for c in characters]
    if kind in {"^", "_"}:
        script = unicodedata.normalize("NFKC", "".join(characters)).replace("\u2212", "-")
        return f"{kind}{{{script}}}"
    if kind == "circled":  # ①③ is a list
        return ", ".join(normal)
    if kind == "/":
        return "".join(_fraction(c) for c in normal)
    pairs = zip(characters, normal, strict=True)
    return "".join(_SYMBOLS.get(c) or _GREEK.get(c) or plain for c, plain in pairs)


def _fraction(normal: str) -> str:
    top, _, bottom = normal.partition("\u2044")
    return f" \\frac{{{top}}}{{{bottom}}}"


def _kind(c: str) -> str:
    if c.isascii() or c in _SYMBOLS:
        return "plain"
    decomposition = unicodedata.decomposition(c)
    return _RUNS.get(decomposition.split(" ")[0], "plain")
