"""Reading samples in a terminal: one at a time, with keys; what is shown never depends on the
terminal, so that it can be tried without one."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from sage_bench.reporting.entries import FILTERS, Entry, passing
from sage_bench.utils.cells import one_line, printable

HELP = (
    "space, l: next sample   h: previous   j, k: next, previous question   n: next filter hit\n"
    "↓ ↑ or d, u: scroll   w: wrong only   r: right   t: truncated   a: no answer   g: graders"
    " disagree   0: all\n"
    "/: find a question   m: mathematics as text   q: leave"
)
FILTER_KEYS = {"w": "wrong", "r": "right", "t": "truncated", "a": "no answer"}
FILTER_KEYS |= {"g": "graders disagree"}
# what terminals send for keys that have no character
SENT = {"\x1b[A": "u", "\x1b[B": "d", "\x1b[C": "l", "\x1b[D": "h", "\x1b[5~": "u", "\x1b[6~": "d"}
LEAVE = {"q", "\x03", "\x04"}  # and control-C, control-D


class Pager:
    """Where a reader stands in the samples of a run.

    press: changes it by a key, False when it is time to leave. screen: what is shown, as lines.
    """

    def __init__(self, found: Sequence[Entry], filters: Sequence[str] = ()):
        self.every = list(found)
        self.filters = list(filters)
        self.found = passing(found, filters)
        self.at = 0
        self.top = 0  # the first line of the completion that is shown
        self.message = ""
        self.mathematics = False
        self.height = 20

    @property
    def here(self) -> Entry | None:
        return self.found[self.at] if self.found else None

    def press(self, key: str) -> bool:
        """One key, or `/words` as a search. Unknown keys show the list of keys."""
        self.message = ""
        if key in LEAVE:
            return False
        if key.startswith("/") and len(key) > 1:
            self._find(key[1:])
        elif key in (" ", "l", "n"):
            self._go(self.at + 1)
        elif key == "h":
            self._go(self.at - 1)
        elif key in ("j", "k"):
            self._question(1 if key == "j" else -1)
        elif key in ("d", "u"):
            half = max(1, self.height // 2)
            self.top = max(0, self.top + (half if key == "d" else -half))
        elif key in FILTER_KEYS or key == "0":
            self._filter(FILTER_KEYS.get(key))
        elif key == "m":
            self.mathematics = not self.mathematics
        else:
            self.message = HELP
        return True

    def _go(self, to: int) -> None:
        self.at = max(0, min(to, len(self.found) - 1))
        self.top = 0

    def _question(self, by: int) -> None:
        """To the first shown sample of the next or previous question."""
        if self.here is None:
            return
        names = [(e.part, e.question) for e in self.found]
        unique = list(dict.fromkeys(names))
        to = unique.index(names[self.at]) + by
        self._go(names.index(unique[max(0, min(to, len(unique) - 1))]))

    def _filter(self, name: str | None) -> None:
        """Switch a filter, or all off; the sample stays where it passes them."""
        before = self.here
        if name is None:
            self.filters = []
        elif name in self.filters:
            self.filters.remove(name)
        else:
            self.filters.append(name)
        self.found = passing(self.every, self.filters)
        self._go(self.found.index(before) if before in self.found else 0)

    def _find(self, words: str) -> None:
        ahead = [*range(self.at + 1, len(self.found)), *range(self.at + 1)]
        for number in ahead:
            entry = self.found[number]
            if words.lower() in f"{entry.part}/{entry.question} {entry.asked}".lower():
                self._go(number)
                return
        self.message = f"no question with `{words}`"

    def screen(self, width: int, height: int) -> list[Text]:
        """The lines to show, at most `height`; the completion fills what its head leaves."""
        status = self._status()
        if self.here is None:
            return [Text("No sample passes these filters; 0 shows all.", "yellow"), status]
        lines = head(self.here, width, self.mathematics)[: max(3, height // 2)]
        tail = [Text(line, "dim") for line in self.message.split("\n") if line] or [status]
        body = wrapped(self.here.text, width, self.mathematics)
        self.height = max(1, height - len(lines) - len(tail))
        self.top = min(self.top, max(0, len(body) - self.height))
        shown = [Text(line) for line in body[self.top : self.top + self.height]]
        below = len(body) - self.top - self.height
        if below > 0:
            tail[0].append(f"   {below} more lines: d", "dim")
        shown += [Text("")] * (self.height - len(shown))
        return [*lines, *shown, *tail]

    def _status(self) -> Text:
        number = self.at + 1 if self.found else 0
        names = ", ".join(self.filters) or "all"
        return Text(f"{number} of {len(self.found)} ({names})   ? keys   q leave", "reverse")


def head(entry: Entry, width: int, mathematics: bool = False) -> list[Text]:
    """Question, gold answer and facts of an entry, as lines."""
    title = Text(f"{one_line(entry.part)}/{one_line(entry.question)}", "bold")
    title.append(f"  sample {entry.sample}", "dim")
    lines = [title]
    if entry.asked:
        lines += [Text(line, "cyan") for line in wrapped(entry.asked, width, mathematics)]
    if entry.hint:
        lines += [Text(line, "magenta") for line in wrapped(f"hint: {entry.hint}", width)]
    lines.append(Text(f"gold: {one_line(entry.gold)}"))
    lines.append(facts(entry))
    lines.append(Text("─" * width, "dim"))
    return lines


def facts(entry: Entry) -> Text:
    """Verdict, answer, length and other graders, on one line."""
    words = {True: ("right", "green"), False: ("wrong", "red"), None: ("not graded", "yellow")}
    out = Text(*words[entry.right])
    parts = [] if entry.status == "ok" else [entry.status]
    if entry.truncated:
        parts.append("cut at the token limit")
    if entry.answer is not None:
        parts.append(f"answer {one_line(entry.answer)}")
    if entry.tokens is not None:
        parts.append(f"{entry.tokens} tokens")
    if entry.graders_disagree:
        said = (f"{name}: {'right' if yes else 'wrong'}" for name, yes in entry.verdicts.items())
        parts.append("graders disagree (" + ", ".join(said) + ")")
    return out.append("".join(f"; {part}" for part in parts))


def wrapped(text: str, width: int, mathematics: bool = False) -> list[str]:
    """A text in lines of at most that width, without anything that acts on a terminal."""
    if mathematics:
        text = in_letters(text)
    lines: list[str] = []
    for line in printable(text).expandtabs(4).split("\n"):
        lines += textwrap.wrap(line, max(width, 8), replace_whitespace=False) or [""]
    return lines


def in_letters(text: str) -> str:
    """LaTeX as letters and signs, as far as they exist."""
    from pylatexenc.latex2text import LatexNodes2Text

    reader = LatexNodes2Text(math_mode="text", keep_comments=True, strict_latex_spaces=False)
    return str(reader.latex_to_text(text, tolerant_parsing=True))


# ---- the terminal -------------------------------------------------------------------------------
def read(pager: Pager, console: Console) -> None:
    """Show samples until the reader leaves. Standard input is a terminal."""
    with console.screen(hide_cursor=True), single_keys():
        while True:
            width, height = console.size
            console.clear()
            for number, line in enumerate(pager.screen(width, height - 1)):
                end = "" if number == height - 2 else "\n"
                console.print(line, end=end, soft_wrap=True, highlight=False)
            key = next_key()
            if key == "/":
                console.print("\n/", end="")
                key += "".join(typed(console))
            if not pager.press(key):
                return


@contextmanager
def single_keys() -> Iterator[None]:
    """Keys arrive as they are pressed, and are not echoed."""
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def next_key() -> str:
    """One key; those that arrive as several characters by the letter that does the same."""
    # a closed terminal reads as nothing: that leaves
    sent = os.read(sys.stdin.fileno(), 16).decode(errors="replace") or "q"
    return SENT.get(sent, sent[:1])


def typed(console: Console) -> Iterator[str]:
    """Characters until the end of a line; the escape key gives it up."""
    while (key := next_key()) not in ("\n", "\r", "\x1b"):
        console.print(one_line(key), end="", highlight=False)
        yield key


def filter_names(**wanted: bool) -> list[str]:
    """The filters that are switched on, by their names here.

    >>> filter_names(wrong=True, no_answer=True, right=False)
    ['wrong', 'no answer']
    """
    names = [name.replace("_", " ") for name, on in wanted.items() if on]
    return [name for name in names if name in FILTERS]
