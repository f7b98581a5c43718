"""A method in a package of its own: GRPO that learns only where the policy was in doubt."""

from fork_grpo.doubt import Doubt
from fork_grpo.method import ForkGRPO, ForkGRPOConfig

__all__ = ["Doubt", "ForkGRPO", "ForkGRPOConfig"]
