"""What a scenario says: its shape, how it is read, and what of it this version can do."""

from scenarios.spec.base import SpecError
from scenarios.spec.built import BUILT, require_built
from scenarios.spec.compress import compressed
from scenarios.spec.load import catalog, load, spec_of
from scenarios.spec.releases import releases
from scenarios.spec.shape import PlannedDeploy, Spec

__all__ = [
    "BUILT",
    "PlannedDeploy",
    "Spec",
    "SpecError",
    "catalog",
    "compressed",
    "load",
    "releases",
    "require_built",
    "spec_of",
]
