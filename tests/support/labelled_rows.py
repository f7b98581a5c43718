"""Labelled steps: rows that are read, rows that are set aside, and a file of them."""

from __future__ import annotations

import json
from pathlib import Path

GOOD = [
    {
        "id": "gsm8k-1",
        "problem": "2+3*4?",
        "steps": ["3*4 = 12", "2 + 12 = 15", "\\boxed{15}"],
        "label": 1,
        "gold": 14,
    },
    {
        "id": "gsm8k-2",
        "problem": "2+3*4?",
        "steps": ["3*4 = 12", "2 + 12 = 14", "\\boxed{14}"],
        "label": -1,
        "gold": "14",
    },
    {
        "id": "math-1",
        "problem": "1/3?",
        "steps": ["1/3 = 0.33", "so \\boxed{\\frac13}"],
        "label": -1,
        "gold": "\\frac{1}{3}",
    },
    {
        "id": "math-2",
        "question": "6?",
        "steps": [{"text": "3 x 2 = 7"}, {"text": ""}],
        "ratings": [-1, 1],
        "answer": 6,
    },
]
BAD = [
    ({"id": "a", "steps": ["x"], "label": 0}, "no question"),
    ({"id": "b", "problem": "q", "label": 0}, "no steps"),
    ({"id": "c", "problem": "q", "steps": "x", "label": 0}, "its steps are no list"),
    ({"id": "d", "problem": "q", "steps": ["x", 3], "label": 0}, "a step is no text"),
    ({"id": "e", "problem": "q", "steps": ["x"]}, "no label"),
    ({"id": "f", "problem": "q", "steps": ["x"], "label": 1}, "its label is none of its steps"),
    ({"id": "g", "problem": "q", "steps": ["x"], "label": -2}, "its label is none of its steps"),
    ({"id": "h", "problem": "q", "steps": ["x"], "label": True}, "its label is no whole number"),
    ({"id": "i", "problem": "q", "steps": ["x"], "label": 0.5}, "its label is no whole number"),
    ({"id": "gsm8k-1", "problem": "q", "steps": ["x"], "label": 0}, "its id occurs twice"),
    ({"id": "j", "problem": "q", "steps": ["", " "], "label": 0}, "no steps"),
    ({"id": "k", "problem": "q", "steps": ["x"], "label": "N/A"}, "its label is no whole number"),
    (
        {"id": "l", "problem": "q", "steps": ["x", "y"], "ratings": [1]},
        "it has not one rating for each step",
    ),
    (
        {"id": "m", "problem": "q", "steps": ["x"], "error_steps": [0]},
        "an error step is none of its steps, which count from 1",
    ),
    (
        {"id": "n", "problem": "q", "steps": ["x", "y"], "error_steps": [1, 3]},
        "an error step is none of its steps, which count from 1",
    ),
    ({"id": "o", "problem": "q", "steps": ["x"], "error_steps": 1}, "its error steps are no list"),
    (
        {"id": "p", "problem": "q", "steps": ["x"], "error_steps": ["first"]},
        "an error step is none of its steps, which count from 1",
    ),
    (
        {"id": "r", "problem": "q", "steps": ["x"], "ratings": [0.2]},
        "a rating is none of -1, 0 and 1",
    ),
    ({"id": "s", "problem": "q", "steps": ["x"], "ratings": 1}, "its ratings are no list"),
    (
        {"id": "t", "problem": "q", "steps": ["x"], "label": 0, "remarks": 1},
        "its remarks are no list",
    ),
]


def write(file: Path, rows: list) -> str:
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(file)
