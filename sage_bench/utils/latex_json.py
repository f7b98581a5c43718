"""JSON that a model wrote about mathematics: LaTeX keeps its backslashes.

A JSON reader silently turns `\\frac` into a form feed and "rac".
"""

from __future__ import annotations

import re

# LaTeX commands whose first letter is also a JSON escape (b f n r t u). `\nu` or a newline before
# "u"? In a text about mathematics the command is the better guess; a newline before any word that
# is not a command stays a newline.
_LATEX = frozenset(
    [
        "bar",
        "bf",
        "big",
        "bigg",
        "bigl",
        "bigr",
        "binom",
        "bmatrix",
        "bmod",
        "boldsymbol",
        "bot",
        "bowtie",
        "boxed",
        "backslash",
        "because",
        "begin",
        "beta",
        "beth",
        "between",
        "bullet",
        "because",
        "flat",
        "forall",
        "frac",
        "frown",
        "footnotesize",
        "nabla",
        "natural",
        "ne",
        "nearrow",
        "neg",
        "neq",
        "newline",
        "ni",
        "nleq",
        "ngeq",
        "nmid",
        "not",
        "notin",
        "nparallel",
        "nolimits",
        "nonumber",
        "nsubseteq",
        "nu",
        "nwarrow",
        "raise",
        "ran",
        "rangle",
        "rbrace",
        "rbrack",
        "rceil",
        "re",
        "real",
        "rfloor",
        "rho",
        "right",
        "rightarrow",
        "rightharpoonup",
        "rightleftharpoons",
        "rm",
        "root",
        "tag",
        "tan",
        "tanh",
        "tau",
        "tbinom",
        "text",
        "textbf",
        "textit",
        "textrm",
        "textstyle",
        "tfrac",
        "therefore",
        "theta",
        "thinspace",
        "tilde",
        "times",
        "to",
        "top",
        "triangle",
        "triangledown",
        "triangleleft",
        "triangleright",
    ]
)
_ESCAPE = re.compile(r'\\(?:(["\\/])|u[0-9a-fA-F]{4}|([A-Za-z]+)|(.)|$)', re.DOTALL)


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
