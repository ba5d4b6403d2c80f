"""May an old release go? Policies, settings and verdicts, with all memory in annotations."""

from deployer.draining.judge import Judgement, draining_deployments, judge
from deployer.draining.parse import policy_of, settings_of
from deployer.draining.policies import (
    After,
    DrainError,
    DrainSettings,
    Empty,
    Few,
    Manual,
    Policy,
    WorthIt,
    needs_counts,
)

__all__ = [
    "After",
    "DrainError",
    "DrainSettings",
    "Empty",
    "Few",
    "Judgement",
    "Manual",
    "Policy",
    "WorthIt",
    "draining_deployments",
    "judge",
    "needs_counts",
    "policy_of",
    "settings_of",
]
