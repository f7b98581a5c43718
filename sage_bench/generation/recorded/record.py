"""A record, opened: its draws by key, and the lines that cannot be used.

Opening reads every line once and keeps none: what a run asks for is read again from its place.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sage_bench.generation.recorded.files import (
    GROUPS,
    About,
    folder_of,
    step_file,
    step_files,
    step_of,
)
from sage_bench.generation.recorded.rows import DIGEST, Draw, Key, Purpose, from_line, key_in
from sage_bench.utils.errors import DataError
from sage_bench.utils.rows import RejectedRow

EXCERPT = 200  # characters of an unreadable line that are kept for the report


@dataclass(frozen=True, slots=True)
class Place:
    """Where a draw lies, and what is known of it without reading it again."""

    file: Path
    line: int
    offset: int
    size: int
    purpose: Purpose
    kept: bool

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class Record:
    """The draws of a folder.

    digest: of all draws that can be used; two runs on records of one digest saw the same groups.
    weights: digests of the policies that drew them, each once, in order. rejected: lines that
    cannot be used, with their reasons; asking for one of `lost` says why it is not there.
    """

    folder: Path
    about: About
    places: dict[Key, Place] = field(default_factory=dict)
    rejected: list[RejectedRow] = field(default_factory=list)
    lost: dict[Key, RejectedRow] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)
    digest: str = ""
    # keys of requests with the same (uid, number), by batch
    _turns: dict[tuple[str, int], list[Key]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def open(cls, path: Path) -> Record:
        """Raises `UsageError` where there is no record, `DataError` where it has no draw that can
        be used."""
        folder = folder_of(path)
        record = cls(folder, About.read(folder))
        digest = hashlib.sha256()
        for file in step_files(folder):
            for line in record._index(file):
                digest.update(line.encode())
        record.digest = digest.hexdigest()[:16]
        if not record.places:
            reasons = f": {record.rejected[0].reason}" if record.rejected else ""
            raise DataError(
                f"the record has no draw that can be used{reasons}",
                where=str(folder),
                remedy="record the groups again",
            )
        return record

    def _index(self, file: Path) -> Iterator[str]:
        """Read a step's file; yields the digest of every draw that can be used."""
        ended, offset, number = False, 0, 0
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                start, offset = offset, offset + len(line)
                if ended or not line.strip():
                    continue
                found = self._line(file, number, line)
                if found is None:
                    continue
                if "end" in found:
                    ended = True
                    self._check_count(file, found["end"], number)
                    continue
                digest = self._draw(found, Place(file, number, start, len(line), "rollout", False))
                if digest is not None:
                    yield digest
        if not ended:
            reason = "the step was not written to its end: the draws after this line are missing"
            self.rejected.append(RejectedRow(f"{file}:{number}", reason))

    def _line(self, file: Path, number: int, line: bytes) -> dict[str, Any] | None:
        """The object of a line; None for one that is torn or none of ours."""
        try:
            found = json.loads(line)
            if isinstance(found, dict):
                return found
            reason = "it is not a JSON object"
        except (ValueError, RecursionError):
            whole = line.endswith(b"\n")
            reason = "it is not JSON" if whole else "the line is torn: its writer was killed"
        text = line[:EXCERPT].decode("utf-8", "backslashreplace")
        self.rejected.append(RejectedRow(f"{file}:{number}", reason, text))
        return None

    def _check_count(self, file: Path, end: object, number: int) -> None:
        draws = end.get("draws") if isinstance(end, dict) else None
        if draws != number - 1:
            reason = f"the step has {number - 1} lines of the {draws} that were written"
            self.rejected.append(RejectedRow(f"{file}:{number}", reason))

    def _draw(self, line: Mapping[str, object], place: Place) -> str | None:
        try:
            draw = from_line(line, place.where)
            if draw.key in self.places:
                raise ValueError(
                    f"its key {draw.key} is also that of {self.places[draw.key].where}"
                )
        except ValueError as error:
            row = RejectedRow(place.where, str(error), str(line)[:EXCERPT])
            self.rejected.append(row)
            key = key_in(line)
            if key is not None:
                self.lost.setdefault(key, row)
            return None
        self.places[draw.key] = Place(
            place.file, place.line, place.offset, place.size, draw.purpose, draw.kept
        )
        self._turns[draw.key[1:]].append(draw.key)
        if draw.weights not in self.weights:
            self.weights.append(draw.weights)
        return str(line[DIGEST])

    # ---- what is asked of it
    def load(self, key: Key) -> Draw:
        """The draw of a key that is there."""
        place = self.places[key]
        with place.file.open("rb") as file:
            file.seek(place.offset)
            return from_line(json.loads(file.read(place.size)), place.where)

    def turn(self, key: Key) -> Key | None:
        """The key of the same request of the same problem, whatever the batch: draws of several
        batches take turns. None where the problem was never drawn so."""
        if key in self.places:
            return key
        keys = self._turns.get(key[1:])
        return keys[key[0] % len(keys)] if keys else None

    def groups(self) -> list[Key]:
        """The first rollouts of every problem and batch, in the order they were drawn: what a
        method begins with."""
        first: dict[tuple[int, str], Key] = {}
        for key, place in self.places.items():
            if place.purpose == "rollout":
                first.setdefault(key[:2], key)
        return list(first.values())

    def where(self, key: Key) -> str:
        """The file in which a key would lie, for errors."""
        return str(step_file(self.folder, key[0]))

    @property
    def name(self) -> str:
        """The folder's own name: it may be moved, and lies elsewhere on another machine."""
        folder = self.folder.resolve()
        return folder.parent.name if folder.name == GROUPS else folder.name

    @property
    def steps(self) -> list[int]:
        return [step_of(file) for file in step_files(self.folder)]
