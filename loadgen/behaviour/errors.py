"""What a user of this project can get wrong about users' behaviour."""

from __future__ import annotations


class BadSettingError(ValueError):
    """A setting that cannot be; its text names the value, the bound and the way out in one line."""


def require(holds: bool, text: str) -> None:
    """Raise BadSettingError with this text unless `holds`."""
    if not holds:
        raise BadSettingError(text)
