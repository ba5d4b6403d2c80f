"""May an old release go? Policies, settings and verdicts, with all memory in annotations."""

from deployer.draining.judge import Judgement, draining_deployments, judge
from deployer.draining.parse import policy_of, settings_of
from deployer.draining.pinning import pins
from deployer.draining.policies import (
    After,
    DrainError,
    DrainSettings,
    Empty,
    Few,
    Manual,
    Pin,
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
    "Pin",
    "Policy",
    "WorthIt",
    "draining_deployments",
    "judge",
    "needs_counts",
    "pins",
    "policy_of",
    "settings_of",
]
