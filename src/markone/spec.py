"""Spec: the frozen, strict, typed value that every part of a recipe is.

A family is a union of specs told apart by ``kind``. Written to TOML and JSON and read back, a spec is equal to itself; "off" is
``None`` in Python, ``null`` in JSON and ``"none"`` in TOML, so that a written recipe leaves nothing out.
"""

import hashlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from markone.errors import SpecError, did_you_mean

OFF = "none"


def _kind_alone(value: object) -> object:
    """``optimizer = "adam"`` is short for ``optimizer = {kind = "adam"}``."""
    return {"kind": value} if isinstance(value, str) and value != OFF else value


def family(union: Any) -> Any:
    """The type of a recipe field that takes any member of ``union``, by its kind.

    >>> class Sgd(Spec):
    ...     kind: Literal["sgd"] = "sgd"
    >>> class Adam(Spec):
    ...     kind: Literal["adam"] = "adam"
    >>> Optimizer = family(Sgd | Adam)
    """
    return Annotated[union, Field(discriminator="kind"), BeforeValidator(_kind_alone)]


class Spec(BaseModel):
    """A frozen value; ``kind`` tells the members of a family apart, ``build`` gives the run-time thing."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise _spec_error(type(self), error) from None

    @model_validator(mode="before")
    @classmethod
    def _off_is_none(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        optional = {name for name, field in cls.model_fields.items() if _takes_none(field.annotation)}
        return {key: None if value == OFF and key in optional else value for key, value in data.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data (dict, list, str, int, float, bool, None). Raises SpecError that names the field."""
        try:
            return cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            raise _spec_error(cls, error) from None
        except (TypeError, ValueError) as error:
            raise SpecError("recipe-not-plain", f"a recipe holds plain data only: {error}.") from None

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """From TOML text. Raises SpecError with the line where the TOML itself is broken."""
        try:
            return cls.from_dict(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise SpecError("recipe-not-toml", f"the recipe is not valid TOML: {error}.") from None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From JSON text. Raises SpecError with the place where the JSON itself is broken."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise SpecError("recipe-not-json", f"the recipe is not valid JSON: {error}.") from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """From a .toml or .json file. Raises SpecError that begins with the file's path."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError("recipe-unreadable", f"cannot read the recipe {path}: {error}.") from None
        try:
            return cls.from_json(text) if path.suffix == ".json" else cls.from_toml(text)
        except SpecError as error:
            raise SpecError(error.slug, f"{path}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """As plain data, whole: every field, defaults included."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return data

    def to_json(self) -> str:
        """As JSON text, whole."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def to_toml(self) -> str:
        """As TOML text, whole; ``None`` is written as ``"none"``."""
        import tomli_w

        return tomli_w.dumps(_none_as_off(self.to_dict()))

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that depend on the content alone."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def edit(self, path: str, value: Any) -> Self:
        """A copy with the field at a dotted path changed; changing a ``kind`` gives that kind's defaults.

        Raises SpecError if the path or the value is not allowed.
        """
        *parents, last = path.split(".")
        data = node = self.to_dict()
        at: Spec = self
        for depth, name in enumerate(parents):
            inner = getattr(at, name, None) if name in type(at).model_fields else None
            if not isinstance(inner, Spec):
                reason = "is off" if name in type(at).model_fields and inner is None else "has no fields of its own"
                if name not in type(at).model_fields:
                    raise _unknown(type(at), ".".join(parents[:depth]), name)
                raise SpecError("recipe-key", f"{'.'.join(parents[: depth + 1])} {reason}, so {path} cannot be set.")
            at, node = inner, node[name]
        if last not in type(at).model_fields:
            raise _unknown(type(at), ".".join(parents), last)
        if last == "kind" and parents:
            return self.edit(".".join(parents), value)
        node[last] = value.to_dict() if isinstance(value, Spec) else value
        return type(self).from_dict(data)

    def flat(self) -> dict[str, Any]:
        """Every leaf by its dotted path."""
        return dict(_leaves("", self.to_dict()))


def diff(a: Spec, b: Spec) -> dict[str, tuple[Any, Any]]:
    """What differs, by dotted path: ``{"optimizer.lr": (0.1, 0.01)}``; a side that lacks the field has None."""
    left, right = a.flat(), b.flat()
    paths = [*left, *(path for path in right if path not in left)]
    return {p: (left.get(p), right.get(p)) for p in paths if p not in left or p not in right or left[p] != right[p]}


def _leaves(prefix: str, data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from _leaves(path, value)
        else:
            yield path, value


def _none_as_off(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _none_as_off(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_none_as_off(inner) for inner in value]
    return OFF if value is None else value


def _takes_none(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _takes_none(get_args(annotation)[0])
    return annotation is type(None) or any(_takes_none(part) for part in get_args(annotation) if part is not annotation)


def _members(annotation: Any) -> Iterator[type[Spec]]:
    """The specs that an annotation admits."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for part in get_args(annotation):
        yield from _members(part)


def _unknown(owner: type[Spec], place: str, name: str) -> SpecError:
    allowed = [field for field in owner.model_fields if field != "kind"]
    where = f"{place}.{name}" if place else name
    fields = ", ".join(allowed) if allowed else "none"
    return SpecError("recipe-key", f"{where} is not a field.{did_you_mean(name, allowed)} Allowed: {fields}.")


def _spec_error(root: type[Spec], error: ValidationError) -> SpecError:
    """The first problem that pydantic found, as one sentence."""
    problem = error.errors(include_url=False)[0]
    owner, path = _walk(root, problem["loc"])
    given, kind = problem["input"], problem["type"]
    if kind == "extra_forbidden":
        return _unknown(owner, ".".join(path[:-1]), path[-1])
    where = ".".join(path) or root.__name__.lower()
    if kind == "union_tag_invalid":
        allowed = [tag.strip().strip("'") for tag in problem["ctx"]["expected_tags"].split(",")]
        tag = str(problem["ctx"]["tag"])
        return SpecError(
            "recipe-kind", f"{where} has no kind {tag!r}.{did_you_mean(tag, allowed)} Allowed: {', '.join(allowed)}."
        )
    if kind == "literal_error":
        allowed = [word.strip("'") for word in problem["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        near = did_you_mean(str(given), allowed)
        return SpecError("recipe-value", f"{where} = {given!r} is not allowed.{near} Allowed: {', '.join(allowed)}.")
    return SpecError("recipe-value", f"{where} = {_short(given)} is not allowed: {_reason(problem)}.")


def _walk(root: type[Spec], loc: tuple[int | str, ...]) -> tuple[type[Spec], list[str]]:
    """The spec that owns the place, and the place as a dotted path without the kinds that pydantic adds to it."""
    owner, path, candidates = root, list[str](), list[type[Spec]]()
    for part in loc:
        by_kind = [m for m in candidates if m.model_fields.get("kind") and m.model_fields["kind"].default == part]
        by_kind = by_kind or [m for m in candidates if part in get_args(_kind_annotation(m))]
        if by_kind:
            owner, candidates = by_kind[0], []
            continue
        if isinstance(part, str) and part in ("function-before[_kind_alone()]",):
            continue
        path.append(str(part))
        field = owner.model_fields.get(str(part))
        candidates = list(_members(field.annotation)) if field else []
        for extra in field.metadata if field else ():
            candidates += list(_members(extra))
        if len(candidates) == 1:
            owner = candidates[0]
    return owner, path


def _kind_annotation(member: type[Spec]) -> Any:
    field = member.model_fields.get("kind")
    return field.annotation if field else None


def _reason(problem: ErrorDetails) -> str:
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    return message if problem["type"] == "value_error" else f"it should be {message}"


def _short(value: object) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
