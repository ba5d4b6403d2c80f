"""What tests of specs share: a small one, and what a load says that must not succeed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scenarios.spec import SpecError, load

SMALL: dict[str, Any] = {"name": "small", "duration": "60s", "users": {"count": 10}}


def refusal(*overrides: str, scenario: str | Path = "quick") -> str:
    """What a load says that must not succeed; always one line."""
    with pytest.raises(SpecError) as error:
        load(scenario, overrides)
    text = str(error.value)
    assert "\n" not in text
    return text
