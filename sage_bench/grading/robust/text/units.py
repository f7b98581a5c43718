"""Units: which words are units, what they measure, how many base units they are.

Unknown nouns are units of their own: five apples are not five pears.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

# a dimension, then units with how many base units they are; `|` sets units apart
_TABLE = r"""
length 1 m meter metre | 1000 km kilometer kilometre | 1/100 cm centimeter centimetre
length 1/1000 mm millimeter millimetre | 1/10 dm decimeter
length 1/1000000 micron | 1/1000000000 nm nanometer
length 0.0254 inch inches | 0.3048 ft foot feet | 0.9144 yd yard | 1609.344 mi mile
time 1 s sec second | 60 min minute | 3600 h hr hour | 86400 day | 604800 week
time 1/1000 ms millisecond
month 1 month | 12 year yr
mass 1 g gram gramme | 1000 kg kilogram kilo | 1/1000 mg milligram | 1000000 tonne
mass 28.349523125 oz ounce | 453.59237 lb pound
length^3 1/1000 l liter litre L | 1/1000000 ml mL milliliter millilitre
length^3 0.003785411784 gal gallon | 0.000946352946 qt quart | 0.000473176473 pint
money 1 dollar buck USD | 1/100 cent | 1 $
euro 1 euro €
pence 1 pence penny p | 100 £
degree 1 degree deg
radian 1 radian rad
temperature 1 celsius
fahrenheit 1 fahrenheit
percent 1 percent percentage
force 1 N newton | 1000 kN
energy 1 J joule | 1000 kJ | 4.184 cal calorie
power 1 W watt | 1000 kW
voltage 1 V volt
current 1 A ampere amp
resistance 1 ohm \Omega
charge 1 coulomb
frequency 1 Hz hertz
pressure 1 Pa pascal
kelvin 1 K kelvin
mole 1 mol mole
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
    """size base units of the given dimensions; nouns are dimensions too.

    >>> Unit(Fraction(1), (("apple", 1),), known=False).is_unnamed
    False
    """

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
    """Unit to its dimension and size."""
    found: dict[str, tuple[str, Fraction]] = {}
    for line in _TABLE.strip().splitlines():
        dimension, entries = line.split(maxsplit=1)
        for entry in entries.split("|"):
            size, *names = entry.split()
            for name in names:
                found[name] = (dimension, Fraction(size))
    return found


_KNOWN = _read_table()
# single letters that may also be variables
_LETTERS = {"m", "s", "g", "h", "N", "J", "W", "V", "A", "K", "L", "l", "\\Omega"}


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
    if letter not in _LETTERS:
        return None
    dimension, size = _KNOWN[letter]
    return Unit(size, ((dimension, 1),))


def _singular(word: str) -> str:
    """A unit by its name in the table, any other word without the ending of a plural."""
    low = word.lower()
    forms = [word, low]
    forms += [low.removesuffix("s"), low.removesuffix("es")]
    if low.endswith("ies"):
        forms.append(low[:-3] + "y")
    for form in forms:
        if form in _KNOWN or form in _DERIVED:
            return form
    if low.endswith("ies") and len(low) > 4:
        return low[:-3] + "y"
    is_plural = low.endswith("s") and not low.endswith("ss") and len(low) > 3
    return low[:-1] if is_plural else low


_FACTOR = re.compile(r"([A-Za-z$€£]+)(?:\s*\^\s*\{?\s*(-?\d+)\s*\}?|(-?\d))?")
_FACTORS = re.compile(r"/|[^\s/]+(?:\s*\^\s*\{?\s*-?\d+\s*\}?)?")


def read_unit(text: str) -> Unit | None:
    r"""The unit a text names, nouns included; None for no words at all.

    >>> read_unit("km/h") == read_unit("kilometers per hour")
    True
    >>> read_unit("cm^2") == read_unit("square centimeters")
    True
    >>> read_unit("hours").size, read_unit("blue marbles").dimensions, read_unit("")
    (Fraction(3600, 1), (('blue marble', 1),), None)
    """
    factors: list[tuple[str, int]] = []  # name and exponent
    nouns: list[str] = []
    sign = 1  # -1 behind "per"
    power = 1  # of the next unit: 2 behind "square"
    for part in _FACTORS.findall(_one_spelling(text)):
        if part == "/":
            sign = -1
            continue
        m = _FACTOR.match(part)
        if not m or m[1].lower() in _FILLERS:
            continue
        word, shown = m[1].lower(), int(m[2] or m[3] or 1)
        if word in _UNNAMED:
            if shown * power > 1 and sign > 0:
                factors.append(("unit", shown * power))
            power = 1
        elif word in _SQUARES and word.endswith("ed") and factors:  # "feet squared"
            name, exponent = factors[-1]
            factors[-1] = (name, exponent * _SQUARES[word])
        elif word in _SQUARES:
            power = _SQUARES[word]
        else:
            exponent, power = shown * power * sign, 1
            name = _singular(m[1])
            if name not in _KNOWN and name not in _DERIVED and exponent == 1:
                nouns.append(name)
            else:
                above, *below = _DERIVED.get(name, (name,))
                factors += [(above, exponent), *((unit, -exponent) for unit in below)]
    if nouns:
        factors.append((" ".join(nouns), 1))
    return _product(factors)


def _one_spelling(text: str) -> str:
    """`degrees Celsius`, `in^2`, `per`, `kilowatt-hours` and dots between units, in one way."""
    text = re.sub(r"\bdegrees?\s+(celsius|fahrenheit|kelvin)", r"\1", text, flags=re.I)
    text = re.sub(r"^\s*in\b\.?(?=\s*(?:\^|/|$))", "inch", text)
    text = re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", " ", text)
    return re.sub(r"\bper\b", "/", text.replace("\\cdot", " ").replace("*", " "))


def _product(factors: list[tuple[str, int]]) -> Unit | None:
    if not factors:
        return None
    dimensions: Counter[str] = Counter()
    size = Fraction(1)
    for name, exponent in factors:
        dimension, factor = _KNOWN.get(name, (name, Fraction(1)))
        dimension, _, cube = dimension.partition("^")
        dimensions[dimension] += exponent * int(cube or 1)
        size *= factor**exponent
    left = tuple(sorted((d, p) for d, p in dimensions.items() if p))
    return Unit(size, left, all(name in _KNOWN for name, _ in factors))


def agree(a: Unit, b: Unit) -> bool:
    """May quantities in these units be compared at all?

    Nouns agree when one names the other more closely.

    >>> agree(read_unit("marbles"), read_unit("blue marbles"))
    True
    >>> agree(read_unit("m"), read_unit("s"))
    False
    >>> agree(read_unit("square units"), read_unit("cm^2"))
    True
    >>> agree(read_unit("square units"), read_unit("cubic units"))
    False
    """
    if a.dimensions == b.dimensions:
        return True
    for one, two in ((a, b), (b, a)):
        if one.is_unnamed:
            return sum(p for _, p in two.dimensions) == one.dimensions[0][1]
    if a.known or b.known:
        return False
    ours, theirs = ({w for d, _ in u.dimensions for w in d.split()} for u in (a, b))
    return ours <= theirs or theirs <= ours
