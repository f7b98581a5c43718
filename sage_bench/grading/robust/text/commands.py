r"""LaTeX commands in one spelling: synonyms renamed, typesetting dropped, texts as «words»."""

from __future__ import annotations

import re

from sage_bench.grading.extract import closing_brace
from sage_bench.grading.robust.text.units import is_unit_product

FUNCTIONS = (
    "arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth arcsinh arccosh arctanh sin cos"
    " tan cot sec csc ln lg log exp sqrt gcd lcm max min det cis"
).split()
_SYNONYMS = {
    "leq": "le",
    "leqslant": "le",
    "leqq": "le",
    "geq": "ge",
    "geqslant": "ge",
    "geqq": "ge",
    "neq": "ne",
    "lt": "<",
    "gt": ">",
    "vert": "|",
    "mid": "|",
    "lvert": "|",
    "rvert": "|",
    "lbrace": "\\{",
    "rbrace": "\\}",
    "lparen": "(",
    "rparen": ")",
    "lbrack": "[",
    "rbrack": "]",
    "colon": ":",
    "cdotp": "cdot",
    "ast": "*",
    "land": " and ",
    "wedge": " and ",
    "lor": " or ",
    "vee": " or ",
    "dots": "ldots",
    "cdots": "ldots",
    "dotsc": "ldots",
    "dotsb": "ldots",
    "vdots": "ldots",
    "degree": "^\\circ",
    "degrees": "^\\circ",
    "textdegree": "^\\circ",
    "textcirc": "circ",
    "infinity": "infty",
    "varnothing": "emptyset",
    "doteq": "approx",
    "simeq": "approx",
    "thickapprox": "approx",
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "dbinom": "binom",
    "tbinom": "binom",
    "tg": "tan",
    "ctg": "cot",
    "arctg": "arctan",
    "cosec": "csc",
    "lg": "log_{10}",
    "Rightarrow": "implies",
    "Longrightarrow": "implies",
    "longrightarrow": "to",
    "rightarrow": "to",
    "Re": "Re",
    "backslash": "setminus",
    "varphi": "phi",
    "varepsilon": "epsilon",
    "vartheta": "theta",
    "lnot": "neg",
    "prime": "'",
    "textpi": "pi",
    "quad": "\u2003",
    "qquad": "\u2003",
    "newline": ",",
    "cup": "cup",
    "bigcup": "cup",
    "sqcup": "cup",
    "cupdot": "cupdot",
    "dollar": "\\$",
    "textdollar": "\\$",
    "pounds": "£",
    "euro": "€",
    "iff": "implies",
}
_DROPPED = set(
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle"
    " textstyle scriptstyle limits nolimits rm bf it sf tt cal boldmath nobreak noindent hfill"
    " centering thinspace medspace thickspace negthinspace nonumber notag mathstrut strut relax"
    " large Large small".split()
)
_TEXTS = set(
    "text textbf textit textrm textsf texttt textnormal mbox hbox mathrm mathbf mathit mathsf"
    " mathtt operatorname emph bold boldsymbol bm pmb mathnormal textup underline".split()
)
_WRAPPERS = set(
    "mathop mathbin mathord ensuremath overrightarrow vec hat widehat mathcal mathscr"
    " mathfrak".split()
)
_NUMBER_SETS = {
    "R": "\\reals",
    "Z": "\\integers",
    "N": "\\naturals",
    "Q": "\\rationals",
    "C": "\\complexes",
}


_SIMPLE_UNIT = r"[A-Za-z]{1,4}(?:\^\{?-?\d\}?)?"
_UNIT_LIKE = re.compile(rf"{_SIMPLE_UNIT}(?:\s*[/*]\s*{_SIMPLE_UNIT})+")
_LINES = (
    r"(?:aligned|align\*?|cases|gathered|gather\*?|split|equation\*?|eqnarray\*?|multline\*?"
    r"|dcases)"
)
_ENVIRONMENT = re.compile(rf"\\begin\{{{_LINES}\}}(.*?)\\end\{{{_LINES}\}}", re.S)
# what the right half of an aligned equation begins with
_BEGINS_SIDE = re.compile(r"\s*(?:[=<>+-]|\\(?:le|ge|ne|approx|equiv|pm)(?![a-z])|$)")
_NAME = re.compile(r"\\([A-Za-z]+)\*?")


def plain_commands(text: str) -> str:
    r"""Rename, drop and unwrap commands, left to right.

    The argument of a text command becomes a function, a symbol or «words».

    >>> plain_commands(r"\dfrac{1}{2}\text{ cm}"), plain_commands(r"\mathrm{sin}x")
    ('\\frac{1}{2} «cm» ', '\\sin x')
    """
    out: list[str] = []
    i = 0
    while i < len(text):
        if text[i] != "\\":
            out.append(text[i])
            i += 1
            continue
        m = _NAME.match(text, i)
        if not m:  # an escaped character: `\{`, `\\`
            out.append(text[i : i + 2])
            i += 2
            continue
        name, i = m[1], m.end()
        if name in _DROPPED:
            if name in {"left", "right"} and text[i : i + 1] == ".":
                i += 1
        elif name in _TEXTS or name in _WRAPPERS or name == "mathbb":
            content, i = _argument(text, i)
            out.append(_unwrapped(name, content))
        else:
            out.append(_renamed(name, text[i : i + 1]))
    return "".join(out)


def _unwrapped(name: str, content: str) -> str:
    """What a command around its argument leaves behind."""
    if name in _TEXTS:
        return _words(content)
    if name == "mathbb":
        return f" {_NUMBER_SETS.get(content.strip(), content)} "
    return f"{{{plain_commands(content)}}}"


def _renamed(name: str, following: str) -> str:
    """The command by its one name, set apart from a letter or digit that follows it."""
    new = _SYNONYMS.get(name, name)
    if not new[0].isalpha():
        return new
    gap = " " if following.isalnum() else ""
    return f"\\{new}{gap}"


def _argument(text: str, i: int) -> tuple[str, int]:
    """(content, index after it) of the braced or single-character argument at i."""
    while i < len(text) and text[i] == " ":
        i += 1
    if i < len(text) and text[i] == "{":
        end = closing_brace(text, i)
        if end is None:
            return text[i + 1 :], len(text)
        return text[i + 1 : end], end + 1
    return text[i : i + 1], min(i + 1, len(text))


def _words(content: str) -> str:
    """What a text command holds: a function's name, one symbol, a number, or words."""
    content = re.sub(r"(?<!\\)\$|\\[,;: ]|~", " ", content)
    bare = re.sub(r"[\s.,;:!?]+$", "", content.strip().strip("{}").strip())
    if bare in FUNCTIONS:
        return f"\\{bare} "
    if len(bare) == 1 and bare.isalpha():
        return f" {bare} " if content == bare else f" «{bare}» "
    if _UNIT_LIKE.fullmatch(bare):
        return f" «{bare}» "
    if is_unit_product(bare):
        return f" «{bare}» "
    if "\\" in bare or (bare and not re.search(r"[A-Za-z]{2}", bare)):
        return f" {plain_commands(bare)} "
    if content[:1] == " " or content[-1:] == " ":
        return f" «{bare}» "
    return f"«{bare}»" if bare else " "


def _is_function(body: str) -> bool:
    """Do the lines hold values and their conditions, rather than the sides of equations?"""
    if re.search(r"&\s*(?:«|,|if|for|x|\\te)", body):
        return True
    cells = [line.split("&") for line in body.split("\\\\") if line.strip()]
    return all(len(row) == 2 and not _BEGINS_SIDE.match(row[1]) for row in cells)


def plain_environments(text: str) -> str:
    r"""`aligned`, `cases` and the like become lists of their lines; matrices stay.

    >>> plain_environments(r"\begin{aligned} x&=1 \\ y&=2 \end{aligned}").strip()
    'x =1, y =2'
    """
    if "\\begin" not in text:
        return re.sub(r"\\substack\s*", "", text)
    for body in _ENVIRONMENT.findall(text):
        if "cases" in text and _is_function(body):
            return text  # a function in pieces is not a list
        lines = [line for line in re.split(r"\\\\(?:\[[^\]]*\])?", body) if line.strip()]
        flat = ", ".join(line.replace("&", " ").strip().strip(",") for line in lines)
        text = text.replace(body, flat)
    text = re.sub(rf"\\(?:begin|end)\{{{_LINES}\}}", " ", text)
    return re.sub(
        r"\\(begin|end)\{(?:[pbB]?matrix|smallmatrix|array)\}(?:\{[clr|\s]*\})?",
        r"\\\1{matrix}",
        text,
    )
