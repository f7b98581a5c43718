"""Units: which words are units, what they measure, how many base units they are.

Unknown nouns are units of their own: five apples are not five pears.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

# dimensions, then units with how many base units (m, s, g, A, K, mol) they are, set apart by `|`
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
part 1/1000 permille | 1/1000000 ppm | 1/1000000000 ppb
mass*length*time^-2 1000 N newton | 1000000 kN
mass*length^2*time^-2 1000 J joule | 1000000 kJ | 4184 cal calorie
mass*length^2*time^-3 1000 W watt | 1000000 kW
mass*length^2*time^-3*current^-1 1000 V volt
current 1 A ampere amp
mass*length^2*time^-3*current^-2 1000 ohm \Omega
current*time 1 coulomb
time^-1 1 Hz hertz
mass*length^-1*time^-2 1000 Pa pascal
kelvin 1 K kelvin
mole 1 mol mole
"""
# units that are read in a text command only: elsewhere their letters are more likely variables
_TEXT_TABLE = """
current*time 1 C
mass*length^2*time^-2 1000 Nm
current^2*time^4*mass^-1*length^-2 1/1000 F farad
mass*time^-2*current^-1 1000 T tesla
mass*length^2*time^-2*current^-2 1000 H henry
mole*length^-3 1000 M molar
"""
_SYMBOL_PREFIXES = {
    "k": Fraction(1000),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "c": Fraction(1, 100),
    "d": Fraction(1, 10),
    "m": Fraction(1, 1000),
    "micro": Fraction(1, 10**6),
    "n": Fraction(1, 10**9),
    "p": Fraction(1, 10**12),
}
_WORD_PREFIXES = {
    "kilo": Fraction(1000),
    "mega": Fraction(10**6),
    "giga": Fraction(10**9),
    "centi": Fraction(1, 100),
    "milli": Fraction(1, 1000),
    "micro": Fraction(1, 10**6),
    "nano": Fraction(1, 10**9),
    "pico": Fraction(1, 10**12),
}
_PREFIXED_SYMBOLS = "m s g A mol Hz N J W V Pa C F T H L l M ohm".split()
_PREFIXED_WORDS = (
    "meter metre second gram ampere amp newton joule watt volt pascal coulomb farad liter litre ohm"
    " hertz mole molar tesla henry"
).split()
_NOT_PREFIXED = {"pm", "pH"}  # afternoon, acidity
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
    def is_part(self) -> bool:
        """Parts of a whole: per mille, parts per million."""
        return self.dimensions == (("part", 1),)

    @property
    def is_unnamed(self) -> bool:
        return len(self.dimensions) == 1 and self.dimensions[0][0] == "unit"


Dimensions = tuple[tuple[str, int], ...]


def _read_table(table: str) -> dict[str, tuple[Dimensions, Fraction]]:
    """Unit to its dimensions and size."""
    found: dict[str, tuple[Dimensions, Fraction]] = {}
    for line in table.strip().splitlines():
        measured, entries = line.split(maxsplit=1)
        parts = [part.partition("^") for part in measured.split("*")]
        dimensions = tuple(sorted((name, int(power or 1)) for name, _, power in parts))
        for entry in entries.split("|"):
            size, *names = entry.split()
            for name in names:
                found[name] = (dimensions, Fraction(size))
    return found


def _prefixed(
    known: dict[str, tuple[Dimensions, Fraction]],
) -> dict[str, tuple[Dimensions, Fraction]]:
    """Units with the prefixes of the SI."""
    found: dict[str, tuple[Dimensions, Fraction]] = {}
    kinds = ((_SYMBOL_PREFIXES, _PREFIXED_SYMBOLS), (_WORD_PREFIXES, _PREFIXED_WORDS))
    for prefixes, units in kinds:
        for prefix, factor in prefixes.items():
            for unit in units:
                dimensions, size = known[unit]
                found[prefix + unit] = (dimensions, size * factor)
    return {name: unit for name, unit in found.items() if name not in _NOT_PREFIXED}


_PLAIN = _read_table(_TABLE)
_KNOWN = _PLAIN | _read_table(_TEXT_TABLE)
_KNOWN = _prefixed(_KNOWN) | _KNOWN
# single letters that may also be variables
_LETTERS = {"m", "s", "g", "h", "N", "J", "W", "V", "A", "K", "L", "l", "\\Omega"}
_MOLAR = "M"  # a letter that is a unit only where the other side has that unit


def is_unit(word: str) -> bool:
    """Is this run of two or more letters the name or the abbreviation of a unit?

    >>> is_unit("cm"), is_unit("hours"), is_unit("feet"), is_unit("xy"), is_unit("m")
    (True, True, True, False, False)
    """
    return len(word) > 1 and (_singular(word) in _PLAIN or word in _DERIVED)


_SYMBOL_AND_POWER = re.compile(r"([A-Za-z]+)(?:\s*\^\s*\{?\s*-?\d+\s*\}?)?")


def is_unit_product(text: str) -> bool:
    r"""Is this nothing but symbols of units with powers, several of them or one with a power?

    >>> is_unit_product("J mol^{-1} K^{-1}"), is_unit_product("N m"), is_unit_product("in s")
    (True, True, False)
    """
    parts = [p for p in re.split(r"\\cdot(?![a-z])|[\s*/()]+", _one_spelling(text)) if p]
    matches = [_SYMBOL_AND_POWER.fullmatch(p) for p in parts]
    names = [m[1] for m in matches if m]
    if len(names) < len(parts) or not all(name in _KNOWN for name in names):
        return False
    return len(names) > 1 or "^" in text


def letter_unit(letter: str) -> Unit | None:
    """The unit a single letter stands for after a number, or None.

    >>> letter_unit("s").dimensions, letter_unit("x")
    ((('time', 1),), None)
    """
    if letter not in _LETTERS and letter != _MOLAR:
        return None
    dimensions, size = _KNOWN[letter]
    return Unit(size, dimensions)


def _singular(word: str) -> str:
    """A unit by its name in the table, any other word without the ending of a plural."""
    low = word.lower()
    if word in _KNOWN or word in _DERIVED or len(word) == 1:
        return word
    # mHz and MHz, M and m are different: only words and all capitals may be read in lower case
    forms = [word]
    if word[1:].islower() or word.isupper():
        forms.append(low)
    forms += [low.removesuffix("s"), low.removesuffix("es")]
    if low.endswith("ies"):
        forms.append(low[:-3] + "y")
    for form in forms:
        if form in _KNOWN or form in _DERIVED:
            return form
    if low.endswith("ies") and len(low) > 4:
        return low[:-3] + "y"
    if low.endswith("sses"):
        return low[:-2]
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
        if not m or (m[1].lower() in _FILLERS and m[1] != "A"):  # amperes are not an article
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
    text = re.sub(r"\bms(?=\s*\^\s*\{?\s*-)", "m s", text)  # metres a second, not milliseconds
    text = re.sub(r"/\s*\(([^()]*)\)", r"/\1", text)  # J/(mol K): what follows a stroke is below
    return re.sub(r"\bper\b", "/", text.replace("\\cdot", " ").replace("*", " "))


def _product(factors: list[tuple[str, int]]) -> Unit | None:
    if not factors:
        return None
    dimensions: Counter[str] = Counter()
    size = Fraction(1)
    for name, exponent in factors:
        measured, factor = _KNOWN.get(name, (((name, 1),), Fraction(1)))
        for dimension, power in measured:
            dimensions[dimension] += exponent * power
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
