"""Capacity planning in closed form: pods, money, reconnects and deploy rates, checked against the simulation."""

from scenarios.plan.advice import Plan, plan
from scenarios.plan.burndown import Burndown, Left, left_after, when_left
from scenarios.plan.estimate import Estimate, estimate, estimates
from scenarios.plan.lengths import read_lengths, sessions_of_quantiles
from scenarios.plan.limits import LIMITS, Limit
from scenarios.plan.sensitivity import Moved, sensitivity
from scenarios.plan.service import Nodes, Service, service_of

__all__ = [
    "LIMITS",
    "Burndown",
    "Estimate",
    "Left",
    "Limit",
    "Moved",
    "Nodes",
    "Plan",
    "Service",
    "estimate",
    "estimates",
    "left_after",
    "plan",
    "read_lengths",
    "sensitivity",
    "service_of",
    "sessions_of_quantiles",
    "when_left",
]
