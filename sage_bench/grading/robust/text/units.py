"""Units: which words are units, what they measure, how many base units they are. Unknown nouns are
units of their own."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

_TABLE = """
length 1 m meter metre | 1000 km kilometer kilometre | 1/100 cm centimeter centimetre | 1/1000 mm millimeter millimetre | 1/10 dm decimeter | 1/1000000 micron | 1/1000000000 nm nanometer
length 0.0254 inch inches | 0.3048 ft foot feet | 0.9144 yd yard | 1609.344 mi mile
time 1 s sec second | 60 min minute | 3600 h hr hour | 86400 day | 604800 week | 1/1000 ms millisecond
month 1 month | 12 year yr
mass 1 g gram gramme | 1000 kg kilogram kilo | 1/1000 mg milligram | 1000000 tonne | 28.349523125 oz ounce | 453.59237 lb pound
length^3 1/1000 l liter litre L | 1/1000000 ml mL milliliter millilitre | 0.003785411784 gal gallon | 0.000946352946 qt quart | 0.000473176473 pint
money 1 dollar buck USD | 1/100 cent | 1 $
euro 1 euro € | pence 1 pence penny p | 100 £
degree 1 degree deg
radian 1 radian rad
temperature 1 celsius | fahrenheit 1 fahrenheit
percent 1 percent percentage
force 1 N newton | 1000 kN
energy 1 J joule | 1000 kJ | 4.184 cal calorie
power 1 W watt | 1000 kW
voltage 1 V volt | current 1 A ampere amp | resistance 1 ohm \\Omega | charge 1 coulomb | frequency 1 Hz hertz | pressure 1 Pa pascal | kelvin 1 K kelvin | mole 1 mol mole
"""
_DERIVED = {
    "mph": ("mile", "hour"),
    "kph": ("km", "hour"),
    "kmph": ("km", "hour"),
    "kmh": ("km", "hour"),
    "mps": ("m", "s"),
    "rpm": ("revolution", "minute"),
    "fps": ("ft", "s"),
}
_SQUARES = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cubed": 3, "cu": 3}
_FILLERS = set(
    "the a an of in is are about approximately old exactly each total only per-unit long tall wide"
    " apart away ago left".split()
)
_UNNAMED = {"unit", "units", "u"}  # of whatever length: 7 square units


@dataclass(frozen=True)
class Unit:
    """size base units of the given dimensions; nouns are dimensions too: Unit(1, (("apple",
    1),))."""

    size: Fraction
    dimensions: tuple[tuple[str, int], ...]
    known: bool = True

    @property
    def is_angle(self) -> bool:
        return self.dimensions in {(("degree", 1),), (("radian", 1),)}

    @property
    def is_unnamed(self) -> bool:
        return len(self.dimensions) == 1 and self.dimensions[0][0] == "unit"


def _read_table() -> dict[str, tuple[str, Fraction]]:
    found: dict[str, tuple[str, Fraction]] = {}
    for line in _TABLE.strip().splitlines():
        dimension = ""
        for entry in line.split("|"):
            words = entry.split()
            if not re.match(r"[\d.]", words[0]):
                dimension, words = words[0], words[1:]
            for name in words[1:]:
                found[name] = (dimension, Fraction(words[0]))
    return found


_KNOWN = _read_table()
_LETTERS = {
    "m",
    "s",
    "g",
    "h",
    "N",
    "J",
    "W",
    "V",
    "A",
    "K",
    "L",
    "l",
    "\\Omega",
}  # single letters that may also be variables


def is_unit(word: str) -> bool:
    """Is this run of two or more letters the name or the abbreviation of a unit?

    >>> is_unit("cm"), is_unit("hours"), is_unit("feet"), is_unit("xy"), is_unit("m")
    (True, True, True, False, False)
    """
    return len(word) > 1 and (_singular(word) in _KNOWN or word in _DERIVED)


def letter_unit(letter: str) -> Unit | None:
    """The unit a single letter stands for after a number, or None.

    >>> letter_unit("N").dimensions, letter_unit("x")
    ((('force', 1),), None)
    """
    return Unit(_KNOWN[letter][1], ((_KNOWN[letter][0], 1),)) if letter in _LETTERS else None


def _singular(word: str) -> str:
    if word in _KNOWN or word in _DERIVED:
        return word
    low = word.lower()
    for form in (
        low,
        low[:-1] if low.endswith("s") else low,
        low[:-2] if low.endswith("es") else low,
        low[:-3] + "y" if low.endswith("ies") else low,
    ):
        if form in _KNOWN or form in _DERIVED:
            return form
    return (
        low[:-3] + "y"
        if low.endswith("ies") and len(low) > 4
        else low[:-1]
        if low.endswith("s") and not low.endswith("ss") and len(low) > 3
        else low
    )


_FACTOR = re.compile(r"([A-Za-z$€£]+)(?:\s*\^\s*\{?\s*(-?\d+)\s*\}?|(-?\d))?")


def read_unit(text: str) -> Unit | None:
    r"""The unit a text names, nouns included; None for no words at all.

    >>> read_unit("km/h") == read_unit("kilometers per hour"), read_unit("cm^2") == read_unit("square centimeters")
    (True, True)
    >>> read_unit("hours").size, read_unit("blue marbles").dimensions, read_unit("").__class__.__name__
    (Fraction(3600, 1), (('blue marble', 1),), 'NoneType')
    """
    factors: list[list] = []  # [name, exponent]
    sign, power, nouns = 1, 1, []
    text = re.sub(r"\bdegrees?\s+(celsius|fahrenheit|kelvin)", r"\1", text, flags=re.I)
    text = re.sub(r"^\s*in\b\.?(?=\s*(?:\^|/|$))", "inch", text)
    words = re.sub(
        r"\bper\b",
        "/",
        re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", " ", text).replace("\\cdot", " ").replace("*", " "),
    )
    for part in re.findall(r"/|[^\s/]+(?:\s*\^\s*\{?\s*-?\d+\s*\}?)?", words):
        if part == "/":
            sign = -1
            continue
        m = _FACTOR.match(part)
        if not m or m[1].lower() in _FILLERS:
            continue
        if m[1].lower() in _UNNAMED:
            exponent, power = int(m[2] or m[3] or 1) * power, 1
            factors += [["unit", exponent]] if exponent > 1 and sign > 0 else []
            continue
        if m[1].lower() in _SQUARES:
            if m[1].lower().endswith("ed") and factors:  # "feet squared"
                factors[-1][1] *= _SQUARES[m[1].lower()]
            else:
                power = _SQUARES[m[1].lower()]
            continue
        exponent, power = int(m[2] or m[3] or 1) * power * sign, 1
        name = _singular(m[1])
        if name not in _KNOWN and name not in _DERIVED and exponent == 1:
            nouns.append(name)
        else:
            factors += [
                [f, exponent if i == 0 else -exponent]
                for i, f in enumerate(_DERIVED.get(name, (name,)))
            ]
    return _product(factors + ([[" ".join(nouns), 1]] if nouns else []))


def _product(factors: list[list]) -> Unit | None:
    dimensions: Counter[str] = Counter()
    size = Fraction(1)
    for name, exponent in factors:
        dimension, factor = _KNOWN.get(name, (name, Fraction(1)))
        dimension, _, cube = dimension.partition("^")
        dimensions[dimension] += exponent * int(cube or 1)
        size *= factor**exponent
    left = tuple(sorted((d, p) for d, p in dimensions.items() if p))
    return Unit(size, left, all(n in _KNOWN for n, _ in factors)) if factors else None


def agree(a: Unit, b: Unit) -> bool:
    """May quantities in these units be compared at all? Nouns agree when one names the other more
    closely.

    >>> agree(read_unit("marbles"), read_unit("blue marbles")), agree(read_unit("apples"), read_unit("pears")), agree(read_unit("m"), read_unit("s"))
    (True, False, False)
    >>> agree(read_unit("square units"), read_unit("cm^2")), agree(read_unit("square units"), read_unit("cubic units"))
    (True, False)
    """
    if a.dimensions == b.dimensions:
        return True
    for one, two in ((a, b), (b, a)):
        if one.is_unnamed:
            return sum(p for _, p in two.dimensions) == one.dimensions[0][1]
    if a.known or b.known:
        return False
    one, two = ({w for d, p in u.dimensions for w in d.split()} for u in (a, b))
    return one <= two or two <= one
