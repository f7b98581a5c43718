r"""One spelling for an answer: typesetting, synonyms and Unicode are gone, words are set apart as
«words».

What has a meaning stays: brackets, commas, decimals, units, powers. Every rule is about notation,
none about one answer.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

from sage_bench.grading.extract import closing_brace, last_boxed

LONGEST = 4000  # characters; no answer is longer

FUNCTIONS = (
    "arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth arcsinh arccosh arctanh sin cos"
    " tan cot sec csc ln lg log exp sqrt gcd lcm max min det"
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
    "mathop mathbin mathord ensuremath overrightarrow vec hat widehat mathcal mathscr mathfrak".split()
)
_UNICODE = {
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
    "¬": "\\neg ",
    "∧": " and ",
    "∨": " or ",
    "∀": "\\forall ",
}
_GREEK = {
    chr(code): "\\" + name + " "
    for code, name in {
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
    }.items()
}
_ESCAPES = {"\t": "t", "\f": "f", "\b": "b", "\r": "r", "\v": "v", "\a": "a"}
_EATEN = re.compile(
    r"([\t\f\x08\r\v\a])(?=(?:ext|imes|heta|an|frac|o\b|au|riangle|rac|orall|oxed|eta|inom|egin|ar\b|ig|ight|ho|ec|lpha|pprox|ngle|rc))"
)


def clean(text: str) -> str:
    r"""The canonical spelling.

    >>> clean(r"$\dfrac{1}{2}$."), clean(r"\left( -\sqrt3,\ 2 \right]"), clean("x ≥ 3"), clean(r"3 \text{ cm}^2")
    ('\\frac{1}{2}', '( -\\sqrt 3, 2 ]', 'x \\ge 3', '3 «cm» ^2')
    >>> clean(r"1{,}234"), clean(r"12\,345"), clean("11,\\! 111"), clean("½"), clean(r"90^{\circ}"), clean("\text{odd}")
    ('1234', '12345', '11111', '\\frac{1}{2}', '90^\\circ', '«odd»')
    """
    text = text[:LONGEST]
    if "\\boxed" in text or "\\fbox" in text:
        text = last_boxed(text) or text
    text = re.sub(r"^\s*(\*\*|__)(.*)\1\s*$", r"\2", _unescaped(text))
    text = _plain_unicode(text)
    text = _without_dollars(text)
    text = re.sub(
        r"\\(?:hspace|vspace|phantom|hphantom|tag|label|color|textcolor)\*?\{[^{}]*\}", " ", text
    )
    text = re.sub(r"\\ang\s*\{([^{};]*)\}", r"\1^\\circ ", text)
    text = re.sub(r"(?<=\d)\s*(?:,\\!|\{,\}|\\,\{,\}|,\\,)\s*(?=\d{3})", "", text)
    text = re.sub(
        r"(?<![\d.])(\d{1,3})((?:\\[,;: ]\d{3})+)(?!\d)",
        lambda m: m[1] + re.sub(r"\D", "", m[2]),
        text,
    )
    text = text.replace("\\!", "").replace("~", " ")
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\[,;:>\s]", r"\1 ", text)
    text = _commands(text)
    text = _environments(text)
    text = re.sub(
        r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])|\\circ(?=\s*$)|(?<=\d)\s*\\circ(?![a-zA-Z])",
        r"^\\circ",
        text,
    )
    text = re.sub(r"«\s*\(([^()«»]*)\)\s*»", r"«\1»", text)
    text = re.sub(r"(?<![A-Za-z])\(\s*(«[^«»]*»|[a-z]{2,}(?: [a-z]+)*)\s*\)\s*$", r" \1 ", text)
    text = re.sub(
        r"\(\s*(?:«\s*(?:approximately|about)\s*»|approximately|about)[^()]*\)\s*$", " ", text
    )
    text = re.sub(
        r"\(\s*«?\s*(?:or\b|i\.e\.|that is\b),?\s*»?([^()]*)\)\s*$|«\(or ([^«»]*)\)»\s*$",
        lambda m: f" or {m[1] or m[2]}",
        text,
    )
    text = re.sub(
        r"\\frac\s*\{\s*(?=[^{}]*«)«?\s*([A-Za-z]+)\s*»?\s*\}\s*\{\s*«?\s*([A-Za-z]+)\s*»?\s*(\^\s*\{?\d\}?)?\s*\}",
        r"«\1/\2\3»",
        text,
    )
    text = re.sub(
        r"(^|\\cup|\\in|=)\s*([\[\]])([^\[\]()]+,[^\[\]()]+)([\[\]])(?=\s*\.?\s*(?:$|\\cup))",
        lambda m: f"{m[1]} {m[2].replace(']', '(')}{m[3]}{m[4].replace('[', ')')}",
        text,
    )
    text = re.sub(r"\b([a-zA-Z])\s*:\s*([a-z])\s*\\mapsto(?![a-zA-Z])", r"\1(\2) = ", text)
    text = re.sub(
        r"\^\\circ\s*«?\s*([CF])\s*»?\s*$",
        lambda m: " «celsius»" if m[1] == "C" else " «fahrenheit»",
        text,
    )
    for a, b in (
        ("!=", "\\ne "),
        ("<=", "\\le "),
        (">=", "\\ge "),
        ("\\not=", "\\ne "),
        ("\\not =", "\\ne "),
        ("=<", "\\le "),
        ("**", "^"),
        ("\\%", "%"),
        ("\\_", "_"),
        ("\\#", "#"),
        ("\\&", "&"),
        ("...", "\\ldots "),
    ):
        text = text.replace(a, b)
    text = re.sub(
        r"^\s*(\d+)\s*(?:«\s*(?:in|out of)\s*»|\bin\b|\bout of\b)\s*(\d+)\s*\.?\s*$",
        r"\\frac{\1}{\2}",
        text,
    )
    text = re.sub(r"\bper cent\b", "percent", text)
    text = re.sub(r"\b(?:np|math|sp|sympy)\.(?=[a-z])", "", text)
    text = re.sub(r"[^\S\u2003]+", " ", text).strip(" \u2003")
    text = re.sub(r"^-?\d{1,3}(?: \d{3})+$", lambda m: m[0].replace(" ", ""), text)
    text = re.sub(
        r"(?<![\\a-zA-Z_^}])\{\s*(«[^«»]*»|[A-Za-z]{2,}(?: [A-Za-z]+)*)\s*\}", r" \1 ", text
    )
    text = re.sub(r"(?<=\D)\.(?=\s*(?:\\?[})\]]|$))|(?<=\})\.(?=\s*[)\]])", "", text)
    text = re.sub(r"^(?:=|\\approx|\\implies|\\therefore|:)\s*", "", text)
    return re.sub(r"\s*(?:[.,;:]\s*)+$|\\\\\s*$|[\^_]$", "", text).strip(" \u2003")


def _unescaped(text: str) -> str:
    """Undo what JSON and Python make of backslashes: TAB + `ext` was `\\text`; `\\\\frac` with
    every backslash doubled was `\\frac`."""
    text = _EATEN.sub(lambda m: "\\" + _ESCAPES[m[1]], text)
    runs = re.findall(r"\\+", text)
    if (
        runs
        and all(len(r) % 2 == 0 for r in runs)
        and re.search(
            r"\\\\(?:frac|sqrt|text|left|pi|begin|cdot|times|dfrac|boxed|infty|sin|cos|pm|le|ge|circ|[{%])",
            text,
        )
    ):
        return re.sub(r"\\\\", r"\\", text)
    return text if "\\begin" in text else re.sub(r"\\\\(?=[A-Za-z]{2})", r"\\", text)


def _plain_unicode(text: str) -> str:
    """ASCII and LaTeX for what models write in Unicode; runs of super- and subscripts become one
    exponent or index."""
    if text.isascii():
        return text
    out = []
    for kind, run in groupby(text, _kind):
        chars = list(run)
        if kind in "^_":
            out.append(
                kind
                + "{"
                + unicodedata.normalize("NFKC", "".join(chars)).replace("\u2212", "-")
                + "}"
            )
            continue
        if kind == "o":  # ①③ is a list
            out.append(", ".join(unicodedata.normalize("NFKC", c) for c in chars))
            continue
        for c in chars:
            if kind == "/":
                top, _, bottom = unicodedata.normalize("NFKC", c).partition("\u2044")
                out.append(f" \\frac{{{top}}}{{{bottom}}}")
            else:
                out.append(_UNICODE.get(c) or _GREEK.get(c) or unicodedata.normalize("NFKC", c))
    return "".join(out)


def _kind(c: str) -> str:
    if c.isascii() or c in _UNICODE:
        return "a"
    how = unicodedata.decomposition(c)
    return {"<super>": "^", "<sub>": "_", "<fraction>": "/", "<circle>": "o"}.get(
        how.split(" ")[0], "a"
    )


def _without_dollars(text: str) -> str:
    r"""Math delimiters go; a lone `$` is money."""
    lone = text.replace("\\$", "").count("$") % 2
    text = re.sub(r"(?<!\\)\$", r"\\$" if lone else " ", text)
    return re.sub(r"\\[()\[\]]", " ", text)


def _commands(text: str) -> str:
    """Rename, drop and unwrap commands, left to right; the argument of a text command becomes a
    function, a symbol or «words»."""
    out: list[str] = []
    i = 0
    while i < len(text):
        if text[i] != "\\":
            out.append(text[i])
            i += 1
            continue
        m = re.match(r"\\([A-Za-z]+)\*?", text[i:])
        if not m:
            out.append(text[i : i + 2])
            i += 2
            continue
        name, i = m[1], i + m.end()
        if name in _DROPPED:
            if name in {"left", "right"} and text[i : i + 1] == ".":
                i += 1
            continue
        if name in _TEXTS or name in _WRAPPERS or name == "mathbb":
            content, i = _argument(text, i)
            out.append(
                _said(content)
                if name in _TEXTS
                else (
                    " " + _BLACKBOARD.get(content.strip(), content) + " "
                    if name == "mathbb"
                    else f"{{{_commands(content)}}}"
                )
            )
            continue
        new = _SYNONYMS.get(name, name)
        out.append(
            new
            if not new[0].isalpha()
            else "\\" + new + (" " if i < len(text) and text[i].isalnum() else "")
        )
    return "".join(out)


_BLACKBOARD = {
    "R": "\\reals",
    "Z": "\\integers",
    "N": "\\naturals",
    "Q": "\\rationals",
    "C": "\\complexes",
}


def _argument(text: str, i: int) -> tuple[str, int]:
    """(content, index after it) of the braced or single-character argument at i."""
    j = i
    while j < len(text) and text[j] == " ":
        j += 1
    if j < len(text) and text[j] == "{":
        end = closing_brace(text, j)
        if end is not None:
            return text[j + 1 : end], end + 1
        return text[j + 1 :], len(text)
    return text[j : j + 1], min(j + 1, len(text))


_UNIT_LIKE = re.compile(
    r"[A-Za-z]{1,4}(?:\^\{?-?\d\}?)?(?:\s*[/*]\s*[A-Za-z]{1,4}(?:\^\{?-?\d\}?)?)+"
)


def _said(content: str) -> str:
    r"""What a text command holds: a function's name, one symbol, a number, or words."""
    content = re.sub(r"(?<!\\)\$|\\[,;: ]|~", " ", content)
    bare = re.sub(r"[\s.,;:!?]+$", "", content.strip().strip("{}").strip())
    if bare in FUNCTIONS:
        return f"\\{bare} "
    if len(bare) == 1 and bare.isalpha():
        return f" {bare} " if content == bare else f" «{bare}» "
    if _UNIT_LIKE.fullmatch(bare):
        return f" «{bare}» "
    if "\\" in bare or (bare and not re.search(r"[A-Za-z]{2}", bare)):
        return f" {_commands(bare)} "
    return (
        f" «{bare}» " if content[:1] == " " or content[-1:] == " " else f"«{bare}»" if bare else " "
    )


def _environments(text: str) -> str:
    r"""`aligned`, `cases` and the like are lists of lines; matrices stay."""
    if "\\begin" not in text:
        return re.sub(r"\\substack\s*", "", text)
    lines = r"(?:aligned|align\*?|cases|gathered|gather\*?|split|equation\*?|eqnarray\*?|multline\*?|dcases)"
    for body in re.findall(rf"\\begin\{{{lines}\}}(.*?)\\end\{{{lines}\}}", text, flags=re.S):
        if re.search(r"&\s*(?:«|,|if|for|x|\\te)", body) and "cases" in text:
            return text  # a function in pieces is no list
        flat = ", ".join(
            part.replace("&", " ").strip().strip(",")
            for part in re.split(r"\\\\(?:\[[^\]]*\])?", body)
            if part.strip()
        )
        text = text.replace(body, flat)
    text = re.sub(rf"\\(?:begin|end)\{{{lines}\}}", " ", text)
    return re.sub(
        r"\\(begin|end)\{(?:[pbB]?matrix|smallmatrix|array)\}(?:\{[clr|\s]*\})?",
        r"\\\1{matrix}",
        text,
    )
