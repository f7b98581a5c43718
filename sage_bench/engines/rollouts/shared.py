"""One server of rollouts for several processes that learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sage_bench.engines.ranks import Ranks
from sage_bench.generation.live.engines import EngineLostError
from sage_bench.generation.live.rollouts import TRIES, Rollouts
from sage_bench.generation.live.server import VllmServer
from sage_bench.generation.samplers.base import Result
from sage_bench.types import Completion, Sample
from sage_bench.utils.errors import SageBenchError, TrainingError


class SharedRollouts(Rollouts):
    """Every process draws its own requests from the server; the first one pushes the weights.

    A round is begun together and ended together (`round`), so that nobody draws from weights that
    are on their way, and a server that was lost gets them again before anybody goes on.
    """

    engine: VllmServer

    def __init__(self, *given: Any, ranks: Ranks, **more: Any):
        super().__init__(*given, **more)
        self.ranks = ranks
        self.run_id = ranks.of_first(self.run_id)

    def round(self, work: Callable[[], Result]) -> Result:
        """Collective. work: this process's requests of the round, done anew where the server was
        lost to one of them."""
        for attempt in range(1, TRIES + 1):
            found: list[Result] = []
            error = self._tried(self._push_together)
            if not self.ranks.any(error is not None):
                error = self._tried(lambda: found.append(self._checked(work)))
                if not self.ranks.any(error is not None):
                    return found[0]
            if attempt == TRIES:
                raise error or EngineLostError("another process lost the server of the rollouts")
            self._bring_back(error.what if error else "by another process")
        raise AssertionError("the last attempt returns or raises")

    def _tried(self, work: Callable[[], Any]) -> EngineLostError | None:
        try:
            work()
        except EngineLostError as error:
            return error
        return None

    def _checked(self, work: Callable[[], Result]) -> Result:
        """What was drawn, if the server had the weights until the end: it may have been lost to
        another process, and be back with those it was started with."""
        try:
            result = work()
        except TrainingError as error:  # the probe's
            self._still_held(error)
            raise
        self._still_held()
        return result

    def _still_held(self, why: TrainingError | None = None) -> None:
        if not self.engine.holds(self._version()):
            raise EngineLostError("the server has other weights now") from why

    def _push_together(self) -> None:
        """The weights of now, where a process finds that the server has others. All processes
        count pushes alike."""
        lost = self._tried(self._look)
        if self.ranks.any(lost is not None):
            raise lost or EngineLostError("another process lost the server")
        if not self.ranks.any(self.stale):
            return
        self.stale = True
        if self.ranks.first:
            self._ready()
        else:
            self._follow()

    def _look(self) -> None:
        self.stale = self.stale or not self.engine.holds(self._version())

    def _follow(self) -> None:
        """Count a push that another process makes."""
        self.pushed += 1
        self.stale, self.probed = False, not self.probe_rows
        self.numbers["weight_syncs"] += 1
        self.engine.follow(self._version())

    def _drawn(self, units: Sequence[Sample]) -> list[Completion]:
        if self.stale:
            raise SageBenchError("requests to a shared server belong to a round")
        return self.engine.draw(units)
