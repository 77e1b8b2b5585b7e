"""Every spec there is, found from the types alone: where it sits in a recipe, and random values of it."""

import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from hypothesis import assume
from hypothesis import strategies as st

from markone.errors import SpecError
from markone.recipe import Recipe
from markone.spec import Spec

Data = dict[str, Any]


def options(annotation: Any) -> list[Any]:
    """The types that an annotation admits, one by one."""
    if get_origin(annotation) is Annotated:
        return options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for part in get_args(annotation) for option in options(part)]
    return [annotation]


def members(annotation: Any) -> list[type[Spec]]:
    return [option for option in options(annotation) if isinstance(option, type) and issubclass(option, Spec)]


def kinds(member: type[Spec]) -> tuple[str, ...]:
    return get_args(member.model_fields["kind"].annotation) if "kind" in member.model_fields else ()


def least(member: type[Spec]) -> Data:
    """The least plain data that a member takes: its kind and what has no default."""
    needed = {name: "x" for name, field in member.model_fields.items() if field.is_required()}
    return {**needed, **({"kind": kinds(member)[0]} if kinds(member) else {})}


@dataclass(frozen=True)
class Place:
    """One field of a recipe that holds a spec, and one spec that it can hold."""

    path: str
    member: type[Spec]
    alternatives: tuple[type[Spec], ...]
    optional: bool
    around: Callable[[Any], Data]  # a whole recipe, as plain data, with this value in the place

    @property
    def is_family(self) -> bool:
        return len(self.alternatives) > 1

    def __str__(self) -> str:
        return f"{self.path}={kinds(self.member)[0]}" if self.is_family else self.path


def places(owner: type[Spec] = Recipe, prefix: str = "", around: Any = None) -> Iterator[Place]:
    """Every place of a recipe with every member that fits it, at any depth."""
    around = around or (lambda data: {"data": "digits", **data})
    for name, field in owner.model_fields.items():
        found = members(field.annotation)
        path = f"{prefix}{name}"
        whole = lambda value, name=name, around=around: around({name: value})  # noqa: E731
        for member in found:
            yield Place(path, member, tuple(found), types.NoneType in options(field.annotation), whole)
            inside = lambda data, member=member, whole=whole: whole({**least(member), **data})  # noqa: E731
            yield from places(member, f"{path}.", inside)


PLACES = list(places())


@st.composite
def specs(draw: st.DrawFn, member: type[Spec]) -> Any:
    """Random values of a spec, each field from its own type and bounds."""
    data = {name: draw(_field_values(member, name)) for name in member.model_fields}
    try:
        return member(**data)
    except SpecError as error:
        assume(" together " not in str(error))  # fine one by one, but not all of them
        raise


@cache
def _field_values(member: type[Spec], name: str) -> st.SearchStrategy[Any]:
    field = member.model_fields[name]
    return values(field.annotation, tuple(field.metadata))


def values(annotation: Any, metadata: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    if get_origin(annotation) is Annotated:
        inner, *markers = get_args(annotation)
        return values(inner, tuple(bound for marker in markers for bound in getattr(marker, "metadata", [marker])))
    return st.one_of([_values(option, metadata) for option in options(annotation)])


def _values(option: Any, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if option is types.NoneType:
        return st.none()
    if get_origin(option) is Literal:
        return st.sampled_from(get_args(option))
    if get_origin(option) is tuple:
        fewest = max((bound.min_length for bound in metadata if isinstance(bound, annotated_types.MinLen)), default=0)
        return st.lists(values(get_args(option)[0]), min_size=fewest, max_size=3).map(tuple)
    if option is bool:
        return st.booleans()
    if option is int:
        low, high = bounds(metadata, step=1)
        return st.integers(low, high)
    if option is float:
        low, high = bounds(metadata, step=0)
        open_low = any(isinstance(bound, annotated_types.Gt) for bound in metadata)
        open_high = any(isinstance(bound, annotated_types.Lt) for bound in metadata)
        return st.floats(low, high, allow_nan=False, allow_infinity=False, exclude_min=open_low, exclude_max=open_high)
    if option is str:
        return st.text(max_size=8)
    return specs(option)


def bounds(metadata: tuple[Any, ...], *, step: int) -> tuple[Any, Any]:
    """The closed interval of a number; ``step`` is what lies between an open bound and the first number inside."""
    low: Any = None
    high: Any = None
    for bound in metadata:
        match bound:
            case annotated_types.Ge():
                low = bound.ge
            case annotated_types.Gt():
                low = bound.gt + step  # type: ignore[operator]
            case annotated_types.Le():
                high = bound.le
            case annotated_types.Lt():
                high = bound.lt - step  # type: ignore[operator]
    return low, high
