"""Multiple choice: a letter, or the text of exactly one option."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from sage_bench.grading.exact import spelled
from sage_bench.grading.extract import extract
from sage_bench.grading.registry import register_grader
from sage_bench.grading.verdict import Verdict

MOST = 10  # letters where the number of options is not known: MMLU-Pro's longest question has ten
_WRAP = re.compile(
    r"\\(?:text|textbf|mathbf|mathrm|mathit|textit|mbox|bf|rm)\s*|[{}$*_`~]|\\[,;!:() \[\]]"
    r"|\\(?:left|right)(?![a-z])"
)
_LETTER = re.compile(r"\(?\s*([A-Za-z])\s*(?:$|[).:,-]\s*(.*)$)", re.S)
_STATED = re.compile(
    r"(?:answer|choice|option)(?:\s+(?:is|would be|must be|should be))?\s*:?"
    r"\s*(?:option|choice)?\s*(\(\s*[A-Za-z]\s*\)|[A-Z](?![A-Za-z'’]|\s+[a-z]))",
    re.I,
)
_ALONE = re.compile(r"(?:^|\n)\s*\(?([A-Z])\)?[.)]?\s*$")


@register_grader("mcq")
class Mcq:
    r"""Letter in the last box, or the boxed text of exactly one option; without a box, the last
    "answer is (X)".

    `Mcq().for_options([...])` knows the options of a question: letters are bounded by their number
    and texts are recognised.

    >>> texts = [r"\boxed{\text{(C)}}", r"\boxed{C. 42}", "**Answer: C**", "The answer is Carbon."]
    >>> [v.correct for v in Mcq().grade("C", texts)]
    [True, True, True, False]
    >>> colours = Mcq().for_options(["red", "blue"])
    >>> [v.correct for v in colours.grade("B", [r"\boxed{blue}", r"\boxed{C}", r"\boxed{red}"])]
    [True, False, False]
    """

    version = "mcq 1"

    def __init__(self, options: Sequence[str] | None = None):
        self.options = tuple(options) if options is not None else None

    def for_options(self, options: Sequence[str]) -> Mcq:
        """This grader for one question's options, in the order of their letters."""
        return Mcq(options)

    @property
    def letters(self) -> str:
        return string.ascii_uppercase[: len(self.options) if self.options is not None else MOST]

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        wanted = self.letter(gold)
        verdicts = []
        for text in texts:
            shown, letter = self.chosen(text)
            if shown is None:
                verdicts.append(Verdict(False, "no_answer"))
            elif letter is None:
                verdicts.append(Verdict(False, "parse_error", shown))
            else:
                verdicts.append(Verdict(letter == wanted, "ok", shown))
        return verdicts

    def gold_error(self, gold: str) -> str | None:
        if self.letter(gold):
            return None
        first, last = self.letters[0], self.letters[-1]
        return f"`{gold}` is none of the letters {first} to {last} and no option's text"

    def chosen(self, text: str) -> tuple[str | None, str | None]:
        """(what was said, the letter it stands for); (None, None) when no choice was stated."""
        found = extract(text)
        if found.answer:
            return found.answer, self.letter(found.answer)
        if found.status == "truncated":
            return None, None
        plain = _WRAP.sub("", text.rsplit("</think>", 1)[-1])
        stated = [m[1] for m in _STATED.finditer(plain)]
        # "the answer is a mystery" chooses nothing
        stated = [s for s in stated if s.strip("( )").isupper() or s.startswith("(")]
        stated = stated or [m[1] for m in _ALONE.finditer(plain)]
        return (stated[-1], self.letter(stated[-1])) if stated else (None, None)

    def letter(self, answer: str) -> str | None:
        r"""The letter an answer stands for, or None.

        >>> m = Mcq(["3 m", "4 m", "E"])
        >>> m.letter("(b)"), m.letter("4 m"), m.letter("B. 4 m")
        ('B', 'B', 'B')
        >>> m.letter("D"), m.letter("Boron"), m.letter("B. 3 m")
        (None, None, None)
        """
        plain = _WRAP.sub("", answer).strip().rstrip(".")
        m = _LETTER.fullmatch(plain)
        letter = m[1].upper() if m and m[1].upper() in self.letters else None
        if letter and m and m[2]:
            # a letter with the text of another option says two things
            others = self._options_called(m[2])
            letter = None if others and letter not in others else letter
        same = self._options_called(answer)
        return letter or (same[0] if len(same) == 1 else None)

    def _options_called(self, text: str) -> list[str]:
        """The letters of the options with this text."""
        wanted = _text(text)
        pairs = zip(self.letters, self.options or (), strict=False)
        return [letter for letter, option in pairs if _text(option) == wanted]


def _text(option: str) -> str:
    return spelled(_WRAP.sub("", option)).casefold()
