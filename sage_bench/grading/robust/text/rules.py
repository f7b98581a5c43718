r"""The rules of `clean`, in the order they are applied.

Each has a name, what it looks for, what it puts there, and an example that a test runs: `before`
becomes `after` by this rule alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from sage_bench.grading.robust.text.characters import plain_characters
from sage_bench.grading.robust.text.commands import plain_commands, plain_environments

WIDE = "\u2003"  # what `\quad` becomes: a gap that sets two answers apart
_ESCAPES = {"\t": "t", "\f": "f", "\b": "b", "\r": "r", "\v": "v", "\a": "a"}
_DOUBLED = re.compile(
    r"\\\\(?:frac|sqrt|text|left|pi|begin|cdot|times|dfrac|boxed|infty|sin|cos|pm|le|ge|circ|[{%])"
)


_OR = "ou bien|ou|oder|o|veya|eller|lub|vel|или|或者|或"
_AND = "et|und|och|ve|oraz|y|и|和|以及|与|及"
_MICRO = "mol|m|s|g|C|F|A|V|W|L|l|M|J|H|T|N|Hz|Pa"
_REPEATED = r"(?<![\d.])(\d*\.\d*?)(?:(\d{1,3}?)\2{2,}|(\d{5,6})\3)(\d*)\s*\\ldots(?![A-Za-z])"
_PARTS_PER = {"million": "ppm", "billion": "ppb"}
_OF_THE_SUN = {"M": "mass", "R": "radius", "L": "luminosity"}


@dataclass(frozen=True)
class Rule:
    """One change of notation. replacement: a template of `re.sub`, or a function of the match."""

    name: str
    pattern: str
    replacement: str | Callable[[re.Match[str]], str]
    before: str
    after: str
    compiled: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", re.compile(self.pattern))

    def apply(self, text: str) -> str:
        return self.compiled.sub(self.replacement, text)


@dataclass(frozen=True)
class Step:
    """A rule that is more than one pattern: a function of the whole text."""

    name: str
    apply: Callable[[str], str]
    before: str
    after: str


def _single_backslashes(text: str) -> str:
    """`\\\\frac` with every backslash of the text doubled was `\\frac`."""
    runs = re.findall(r"\\+", text)
    if runs and all(len(r) % 2 == 0 for r in runs) and _DOUBLED.search(text):
        return text.replace("\\\\", "\\")
    return text if "\\begin" in text else re.sub(r"\\\\(?=[A-Za-z]{2})", r"\\", text)


def _without_dollars(text: str) -> str:
    """Math delimiters go; a lone `$` is money."""
    lone = text.replace("\\$", "").count("$") % 2
    return re.sub(r"(?<!\\)\$", r"\\$" if lone else " ", text)


def _half_open(m: re.Match[str]) -> str:
    """`]1, 2[` as `(1, 2)`."""
    opening, closing = m[2].replace("]", "("), m[4].replace("[", ")")
    return f"{m[1]} {opening}{m[3]}{closing}"


def _lettered(digits: str) -> str:
    """Digits as letters only, so that the numeral is read as one word rather than as a product."""
    return "".join(chr(ord("a") + int(digit, 16)) for digit in digits)


def _overlined(m: re.Match[str]) -> str:
    """The period of a decimal that is shown three times, or twice where it is long."""
    period = m[2] or m[3]
    return f"{m[1]}\\overline{{{period}}}" if period.startswith(m[4]) else m[0]


RULES: tuple[Rule | Step, ...] = (
    Rule(
        "a backslash that JSON or Python ate with its letter",
        (
            r"([\t\f\x08\r\v\a])(?=ext|imes|heta|an|frac|o\b|au|riangle|rac|orall|oxed|eta|inom"
            r"|egin|ar\b|ig|ight|ho|ec|lpha|pprox|ngle|rc)"
        ),
        lambda m: "\\" + _ESCAPES[m[1]],
        "\text{odd}",
        r"\text{odd}",
    ),
    Step("doubled backslashes", _single_backslashes, r"\\frac{1}{2}", r"\frac{1}{2}"),
    Rule(
        "space between the rows of a matrix",
        r"\\\\\*?\s*\[\s*-?[\d.]+\s*(?:pt|ex|em|mm|cm|in|bp|pc|sp|mu)\s*\]|\\\\\*(?!\d)",
        r"\\\\ ",
        r"1 \\[8pt] 2",
        r"1 \\  2",
    ),
    Rule("Markdown bold", r"^\s*(\*\*|__)(.*)\1\s*$", r"\2", "**42**", "42"),
    Step("Unicode", plain_characters, "x ≥ 3", r"x \ge  3"),
    Step("dollars around mathematics", _without_dollars, "$x$", " x "),
    Rule("brackets around mathematics", r"\\[()\[\]]", " ", r"\(x\)", " x "),
    Rule(
        "spacing and labels with an argument",
        r"\\(?:hspace|vspace|phantom|hphantom|tag|label|color|textcolor)\*?\{[^{}]*\}",
        " ",
        r"x\hspace{2pt}y\tag{1}",
        "x y ",
    ),
    Rule("siunitx angles", r"\\ang\s*\{([^{};]*)\}", r"\1^\\circ ", r"\ang{30}", r"30^\circ "),
    Rule(
        "thousands set apart by a typeset comma",
        r"(?<=\d)\s*(?:,\\!|\{,\}|\\,\{,\}|,\\,)\s*(?=\d{3})",
        "",
        r"1{,}234",
        "1234",
    ),
    Rule(
        "thousands set apart by a thin space",
        r"(?<![\d.])(\d{1,3})((?:\\[,;: ]\d{3})+)(?!\d)",
        lambda m: m[1] + re.sub(r"\D", "", m[2]),
        r"12\,345",
        "12345",
    ),
    Rule("a colon in braces", r"\{\s*:\s*\}", ":", "3{:}00", "3:00"),
    Rule("negative thin spaces", r"\\!", "", r"a\!b", "ab"),
    Rule("ties", "~", " ", "5~cm", "5 cm"),
    Rule(
        "thin spaces",
        r"(?<!\\)((?:\\\\)*)\\[,;:>\s]",
        r"\1 ",
        r"(1,\ 2)",
        "(1, 2)",
    ),
    Rule(
        "a fraction of two units in upright letters",
        (
            r"\\[dt]?frac\s*\{\s*\\(?:mathrm|text|textrm|rm)\s*\{\s*([A-Za-z]+)\s*\}\s*\}"
            r"\s*\{\s*\\(?:mathrm|text|textrm|rm)\s*\{\s*([A-Za-z]+)\s*\}?"
            r"\s*(\^\s*\{?\d\}?)?\s*\}?\s*\}"
        ),
        r"\\text{ \1/\2\3}",
        r"9.8\frac{\mathrm{m}}{\mathrm{s}^2}",
        r"9.8\text{ m/s^2}",
    ),
    Rule(
        "a cross product",
        (
            r"\\(?:vec|mathbf|overrightarrow|boldsymbol|bm)\s*\{?\s*([a-zA-Z])\s*\}?\s*\\times"
            r"\s*\\(?:vec|mathbf|overrightarrow|boldsymbol|bm)\s*\{?\s*([a-zA-Z])\s*\}?"
        ),
        r"f_{cross}(\1,\2)",
        r"\vec a\times\vec b",
        "f_{cross}(a,b)",
    ),
    Rule(
        "a vector between two points",
        r"\\(?:vec|overrightarrow)\s*\{\s*([A-Z])\s*([A-Z])\s*\}",
        r"\\pointing{\1\2}",
        r"\overrightarrow{AB}",
        r"\pointing{AB}",
    ),
    Step("commands", plain_commands, r"\dfrac{1}{2}\text{ cm}", r"\frac{1}{2} «cm» "),
    Step(
        "environments",
        plain_environments,
        r"\begin{pmatrix}1\\2\end{pmatrix}",
        r"\begin{matrix}1\\2\end{matrix}",
    ),
    Rule(
        "or, in other languages",
        rf"\s*«\s*(?:{_OR})\s*»\s*|(?<=[\s\d)}}])(?:или|或者|或|또는|または)\s*",
        " «or» ",
        "1 «ou» 2",
        "1 «or» 2",
    ),
    Rule(
        "and, in other languages",
        rf"\s*«\s*(?:{_AND})\s*»\s*|(?<=[\s\d)}}])(?:и|和|以及|与|及)\s*(?=[\d\s(\\a-zA-Z-])",
        " «and» ",
        "1 «und» 2",
        "1 «and» 2",
    ),
    Rule(
        "micro",
        rf"(?<=[\d\s}}»])\\mu\s*(?:«\s*)?({_MICRO})(?![A-Za-z])\s*»?",
        r" «micro\1» ",
        r"5 \mu m",
        "5  «microm» ",
    ),
    Rule(
        "ohms with a prefix",
        r"(?<=[\d\s}])«?\s*([kM])\s*»?\s*\\Omega(?![A-Za-z])",
        r" «\1ohm» ",
        r"10 k\Omega",
        "10 «kohm» ",
    ),
    Rule(
        "sizes of the sun",
        r"(?<=[\d}])\s*«?\s*([MRL])\s*»?\s*_\s*\{?\s*\\odot\s*\}?\s*$",
        lambda m: f" «solar {_OF_THE_SUN[m[1]]}» ",
        r"2 M_\odot",
        "2 «solar mass» ",
    ),
    Rule(
        "o'clock",
        r"(?<![\d:])(\d{1,2})\s*«?\s*o'clock\s*»?",
        r"\1:00",
        "3 «o'clock»",
        "3:00",
    ),
    Rule(
        "floor and ceiling by name",
        r"«?\s*(?<![A-Za-z\\])(floor|ceil)(?:ing)?\s*»?\s*(?=\()",
        r"\\\1",
        "«ceiling»(n/2)",
        r"\ceil(n/2)",
    ),
    Rule(
        "does not divide",
        r"«\s*does not divide\s*»|\\nmid(?![A-Za-z])|\\not\s*(?:\\mid(?![A-Za-z])|\|)|\\ndivides",
        r" \\misses ",
        "d «does not divide» n",
        r"d  \misses  n",
    ),
    Rule("divides", r"«\s*divides\s*»", r" \\divides ", "a «divides» b", r"a  \divides  b"),
    Rule(
        "is divisible by",
        r"^([^«»,]+?)\s*«\s*is (?:evenly )?(?:divisible by|a multiple of)\s*»\s*([^«»,]+)$",
        r"\2 \\divides \1",
        "b «is divisible by» a",
        r"a \divides b",
    ),
    Rule(
        "is not divisible by",
        r"^([^«»,]+?)\s*«\s*is not (?:divisible by|a multiple of)\s*»\s*([^«»,]+)$",
        r"\2 \\misses \1",
        "b «is not divisible by» a",
        r"a \misses b",
    ),
    Rule(
        "one degree sign",
        (
            r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])|\\circ(?=\s*$)"
            r"|(?<=\d)\s*\\circ(?![a-zA-Z])"
        ),
        r"^\\circ",
        r"90^{\circ}",
        r"90^\circ",
    ),
    Rule("words in brackets", r"«\s*\(([^()«»]*)\)\s*»", r"«\1»", "«(cm)»", "«cm»"),
    Rule(
        "brackets around words at the end",
        r"(?<![A-Za-z])\(\s*(«[^«»]*»|[a-z]{2,}(?: [a-z]+)*)\s*\)\s*$",
        r" \1 ",
        "12 (square units)",
        "12  square units ",
    ),
    Rule(
        "an approximation in brackets",
        r"\(\s*(?:«\s*(?:approximately|about)\s*»|approximately|about)[^()]*\)\s*$",
        " ",
        r"\sqrt 2 (about 1.41)",
        r"\sqrt 2  ",
    ),
    Rule(
        "another form in brackets",
        (
            r"\(\s*«?\s*(?:or\b|i\.e\.|that is\b),?\s*»?([^()]*)\)\s*$"
            r"|«\(or ([^«»]*)\)»\s*$"
        ),
        lambda m: f" or {m[1] or m[2]}",
        "3/4 (or 0.75)",
        "3/4  or 0.75",
    ),
    Rule(
        "a unit written as a fraction",
        (
            r"\\frac\s*\{\s*(?=[^{}]*«)«?\s*([A-Za-z]+)\s*»?\s*\}"
            r"\{\s*«?\s*([A-Za-z]+)\s*»?\s*(\^\s*\{?\d\}?)?\s*\}"
        ),
        r"«\1/\2\3»",
        "9.8 \\frac{«m»}{«s»^2}",
        "9.8 «m/s^2»",
    ),
    Rule(
        "intervals with brackets turned outwards",
        r"(^|\\cup|\\in|=)\s*([\[\]])([^\[\]()]+,[^\[\]()]+)([\[\]])(?=\s*\.?\s*(?:$|\\cup))",
        _half_open,
        "]1, 2]",
        " (1, 2]",
    ),
    Rule(
        "functions by their arrow",
        r"\b([a-zA-Z])\s*:\s*([a-z])\s*\\mapsto(?![a-zA-Z])",
        r"\1(\2) = ",
        r"f : x \mapsto 2x",
        "f(x) =  2x",
    ),
    Rule(
        "degrees Celsius",
        r"\^\\circ\s*«?\s*C\s*»?\s*$",
        " «celsius»",
        r"20^\circ C",
        "20 «celsius»",
    ),
    Rule(
        "degrees Fahrenheit",
        r"\^\\circ\s*«?\s*F\s*»?\s*$",
        " «fahrenheit»",
        r"68^\circ F",
        "68 «fahrenheit»",
    ),
    Rule("not equal, typed", "!=", r"\\ne ", "x != 2", r"x \ne  2"),
    Rule("at most, typed", "<=", r"\\le ", "x <= 2", r"x \le  2"),
    Rule("at least, typed", ">=", r"\\ge ", "x >= 2", r"x \ge  2"),
    Rule("not equal, struck through", r"\\not ?=", r"\\ne ", r"x \not= 2", r"x \ne  2"),
    Rule("at most, turned", "=<", r"\\le ", "x =< 2", r"x \le  2"),
    Rule("powers in code", r"\*\*", "^", "x**2", "x^2"),
    Rule("escaped signs", r"\\([%_#&])", r"\1", r"50\%", "50%"),
    Rule("an ellipsis of full stops", r"\.\.\.", r"\\ldots ", "1, 2, ...", r"1, 2, \ldots "),
    Rule("repeating decimals", _REPEATED, _overlined, r"0.333\ldots", r"0.\overline{3}"),
    Rule(
        "one in six",
        r"^\s*(\d+)\s*(?:«\s*(?:in|out of)\s*»|\bin\b|\bout of\b)\s*(\d+)\s*\.?\s*$",
        r"\\frac{\1}{\2}",
        "1 in 6",
        r"\frac{1}{6}",
    ),
    Rule(
        "percent in short",
        r"\bper cent\b|\bpct\b\.?|\bp\. ?c\.",
        "percent",
        "5 per cent",
        "5 percent",
    ),
    Rule(
        "parts per thousand, million, billion",
        (
            r"\bparts? per (thousand|million|billion)\b|\b(per mille?)\b|\bpermil\b"
            r"|\bper (thousand)(?=\s*»?\s*\.?\s*$)"
        ),
        lambda m: _PARTS_PER.get(m[1], "permille"),
        "3 parts per million",
        "3 ppm",
    ),
    Rule(
        "dollars by their code",
        r"^\s*«?\s*USD?\s*\$?\s*»?\s*(?=\\?\$?\s*\d)",
        r"\\$",
        "«USD» 12.50",
        r"\$12.50",
    ),
    Rule(
        "choices with the numbers at both sides",
        r"(?<![\w}])(?:\{\s*\})?\s*[_^]\s*\{?\s*(\w+)\s*\}?\s*C\s*_\s*(?:\{\s*(\w+)\s*\}|(\w))",
        lambda m: rf"\binom{{{m[1]}}}{{{m[2] or m[3]}}}",
        "{}_{10}C_3",
        r"\binom{10}{3}",
    ),
    Rule(
        "digits that are letters",
        (
            r"^\(?\s*«?\s*((?=[A-F]*\d)\d*[A-F][\dA-F]*|[a-f]\d[\da-f]*)"
            r"\s*»?\s*\)?\s*_\s*\{?\s*(1[1-6])\s*\}?$"
        ),
        lambda m: f"«numeral {_lettered(m[1])} in base {_lettered(m[2])}»",
        "A3_{16}",
        "«numeral kd in base bg»",
    ),
    Rule("modules of Python", r"\b(?:np|math|sp|sympy)\.(?=[a-z])", "", "np.sqrt(2)", "sqrt(2)"),
    Rule("white space", rf"[^\S{WIDE}]+", " ", "x  =  1", "x = 1"),
    Step("space at the ends", lambda text: text.strip(f" {WIDE}"), " 5 ", "5"),
    Rule(
        "thousands set apart by spaces",
        r"^-?\d{1,3}(?: \d{3})+$",
        lambda m: m[0].replace(" ", ""),
        "12 345",
        "12345",
    ),
    Rule(
        "braces around words",
        r"(?<![\\a-zA-Z_^}])\{\s*(«[^«»]*»|[A-Za-z]{2,}(?: [A-Za-z]+)*)\s*\}",
        r" \1 ",
        "{cm}",
        " cm ",
    ),
    Rule(
        "full stops at the end of mathematics",
        r"(?<=\D)\.(?=\s*(?:\\?[})\]]|$))|(?<=\})\.(?=\s*[)\]])",
        "",
        "x + y.",
        "x + y",
    ),
    Rule(
        "a sign before the whole answer",
        r"^(?:=|\\approx|\\implies|\\therefore|:)\s*",
        "",
        "= 5",
        "5",
    ),
    Rule(
        "punctuation after the whole answer",
        r"\s*(?:[.,;:]\s*)+$|\\\\\s*$|[\^_]$",
        "",
        "5 .",
        "5",
    ),
    Step("space that is left at the ends", lambda text: text.strip(f" {WIDE}"), "5 ", "5"),
)
