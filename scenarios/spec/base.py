"""What all parts of a spec share: unknown keys are errors, values are frozen, choices have one key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError


class SpecError(ValueError):
    """A scenario that cannot be used: one line that names the key, the value and the way out."""


class Part(BaseModel):
    """A mapping of the spec. Where it is written as a single value, that is the key named by `short`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    short: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, value: Any) -> Any:
        if isinstance(value, Mapping | BaseModel):
            return value
        if cls.short is not None and value is not None:
            return {cls.short: value}
        raise PydanticCustomError(
            "not_a_mapping",
            "{found} is not a mapping; its keys are {keys}",
            {"found": repr(value), "keys": ", ".join(cls.model_fields)},
        )


class Word(Part):
    """A choice without settings: written as its name alone."""


class Choice(Part):
    """Exactly one of its keys, with that one's settings; a choice without settings may be a bare word."""

    @model_validator(mode="wrap")
    @classmethod
    def _one(cls, value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        if isinstance(value, cls):
            return value
        keys = keys_of(cls)
        names = ", ".join(keys)
        if isinstance(value, str):
            if value not in keys:
                raise PydanticCustomError(
                    "unknown_choice", "{word} is not one of {names}", {"word": repr(value), "names": names}
                )
            if value not in cls.words():
                settings = models_in(cls.model_fields[keys[value]].annotation)
                inner = ", ".join(key for model in settings for key in keys_of(model))
                raise PydanticCustomError(
                    "bare_choice",
                    "{word} needs settings; write {example}, its keys are {inner}",
                    {"word": value, "example": f"{{{value}: {{…}}}}", "inner": inner},
                )
            value = {value: {}}
        if not isinstance(value, Mapping):
            raise PydanticCustomError(
                "not_a_choice", "{found} is not one of {names}", {"found": repr(value), "names": names}
            )
        given = [key for key in value if key in keys]
        if len(given) > 1 or not value:
            raise PydanticCustomError(
                "one_of",
                "give exactly one of {names}, not {found}",
                {"names": names, "found": " and ".join(given) or "nothing"},
            )
        for key in given:
            if value[key] is None:
                raise PydanticCustomError("one_of", "{key} has no value", {"key": key})
        return handler(value)

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> Any:
        if isinstance(self.chosen, Word):
            return self.kind
        field = keys_of(type(self))[self.kind]
        return {self.kind: handler(self)[field]}

    @classmethod
    def words(cls) -> tuple[str, ...]:
        """The choices that may be written as a bare word."""
        found = []
        for key, name in keys_of(cls).items():
            for model in models_in(cls.model_fields[name].annotation):
                if not any(field.is_required() for field in model.model_fields.values()):
                    found.append(key)
        return tuple(found)

    @property
    def kind(self) -> str:
        """The name of what was chosen."""
        return next(key for key, name in keys_of(type(self)).items() if getattr(self, name) is not None)

    @property
    def chosen(self) -> Any:
        """The settings of what was chosen."""
        return getattr(self, keys_of(type(self))[self.kind])


def keys_of(model: type[BaseModel]) -> dict[str, str]:
    """The keys of a model as they are written, each with its field's name."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in models_in(part)]


def known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that may stand at a path below a model; empty where it leads into no model."""
    models = [model]
    for step in path:
        if isinstance(step, str):
            fields = [m.model_fields[keys_of(m)[step]] for m in models if step in keys_of(m)]
            models = [found for field in fields for found in models_in(field.annotation)]
    return tuple(dict.fromkeys(key for m in models for key in keys_of(m)))


def nearest(word: str, known: Iterable[str]) -> str:
    """A half-sentence that names the nearest known word, or all of them where none is near."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; the nearest known one is {close[0]}"
    return f"; known are {', '.join(known)}" if known else ""
