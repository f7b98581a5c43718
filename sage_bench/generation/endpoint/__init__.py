"""An OpenAI-compatible endpoint: timeouts, retries with back-off, a cache on disk, a ledger of
calls and cost."""

from sage_bench.generation.endpoint.options import Options
from sage_bench.generation.endpoint.replies import Failure
from sage_bench.generation.endpoint.service import CHAT, PLAIN, Endpoint, endpoint

__all__ = ["CHAT", "PLAIN", "Endpoint", "Failure", "Options", "endpoint"]
