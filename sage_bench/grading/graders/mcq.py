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
    r"\\(?:text|textbf|mathbf|mathrm|mathit|textit|mbox|bf|rm)\s*|[{}$*_`~]|\\[,;!:()"
    r" \[\]]|\\(?:left|right)(?![a-z])"
)
_LETTER = re.compile(r"\(?\s*([A-Za-z])\s*(?:$|[).:,-]\s*(.*)$)", re.S)
_SAID = re.compile(
    r"(?:answer|choice|option)(?:\s+(?:is|would be|must be|should"
    r" be))?\s*:?\s*(?:option|choice)?\s*(\(\s*[A-Za-z]\s*\)|[A-Z](?![A-Za-z'’]|\s+[a-z]))",
    re.I,
)
_ALONE = re.compile(r"(?:^|\n)\s*\(?([A-Z])\)?[.)]?\s*$")


@register_grader("mcq")
class Mcq:
    r"""Letter in the last box, or the boxed text of exactly one option; without a box, the last
    "answer is (X)".

    `Mcq().for_options([...])` knows the options of a question: letters are bounded by their number
    and texts are recognised.

    >>> [v.correct for v in Mcq().grade("C", [r"\boxed{\text{(C)}}", r"\boxed{C. 42}", "**Answer: C**", "The answer is Carbon.", r"\boxed{D}"])]
    [True, True, True, False, False]
    >>> [v.correct for v in Mcq().for_options(["red", "blue"]).grade("B", [r"\boxed{blue}", r"\boxed{C}", r"\boxed{red}"])]
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
        out = []
        for text in texts:
            shown, letter = self.chosen(text)
            if shown is None:
                out.append(Verdict(False, "no_answer"))
            else:
                out.append(
                    Verdict(
                        letter is not None and letter == wanted,
                        "ok" if letter else "parse_error",
                        shown,
                    )
                )
        return out

    def gold_error(self, gold: str) -> str | None:
        return (
            None
            if self.letter(gold)
            else (
                f"`{gold}` is none of the letters {self.letters[0]} to {self.letters[-1]} and no"
                " option's text"
            )
        )

    def chosen(self, text: str) -> tuple[str | None, str | None]:
        """(what was said, the letter it stands for); (None, None) when no choice was stated."""
        found = extract(text)
        if found.answer:
            return found.answer, self.letter(found.answer)
        if found.status == "truncated":
            return None, None
        plain = _WRAP.sub("", text.rsplit("</think>", 1)[-1])
        said = [
            m[1]
            for m in _SAID.finditer(plain)
            if m[1].strip("( )").isupper() or m[1].startswith("(")
        ]
        said = said or [m[1] for m in _ALONE.finditer(plain)]
        return (said[-1], self.letter(said[-1])) if said else (None, None)

    def letter(self, answer: str) -> str | None:
        r"""The letter an answer stands for, or None.

        >>> m = Mcq(["3 m", "4 m", "E"])
        >>> m.letter("(b)"), m.letter("4 m"), m.letter("B. 4 m"), m.letter("D"), m.letter("Boron"), m.letter("B. 3 m")
        ('B', 'B', 'B', None, None, None)
        """
        plain = _WRAP.sub("", answer).strip().rstrip(".")
        same = [
            c
            for c, option in zip(self.letters, self.options or (), strict=False)
            if _text(option) == _text(answer)
        ]
        m = _LETTER.fullmatch(plain)
        letter = m[1].upper() if m and m[1].upper() in self.letters else None
        if (
            letter and self.options is not None and m and m[2]
        ):  # a letter with the text of another option says two things
            other = [
                c
                for c, option in zip(self.letters, self.options, strict=True)
                if _text(option) == _text(m[2])
            ]
            letter = None if other and letter not in other else letter
        return letter or (same[0] if len(same) == 1 else None)


def _text(option: str) -> str:
    return spelled(_WRAP.sub("", option)).casefold()
