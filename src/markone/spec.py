"""Spec: the frozen, strict, typed value that every part of a recipe is.

A family is a union of specs told apart by ``kind``. Written to TOML and JSON and read back, a spec is equal to itself; "off" is
``None`` in Python, ``null`` in JSON and ``"none"`` in TOML, so that a written recipe leaves nothing out.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import ErrorDetails, core_schema

from markone.errors import SpecError, did_you_mean

OFF = "none"
MOST_NAMED = 24  # kinds in a message; there are four times as many nets

KIND: Any = Field(discriminator="kind")
"""Makes a family of a union of specs: ``Optimizer = Annotated[SGD | Adam, KIND]``."""


def members(union: Any) -> "tuple[type[Spec], ...]":
    """The specs of a family.

    >>> members(Optimizer)
    (<class 'SGD'>, <class 'Adam'>)
    """
    found: tuple[type[Spec], ...] = get_args(get_args(union)[0])
    return found


class Spec(BaseModel):
    """A frozen value; ``kind`` tells the members of a family apart, ``build`` gives the run-time thing."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        str_max_length=4096,  # Linux's longest path; a bounded text is also checked to be valid Unicode
        defer_build=True,  # a third of the import time of all specs: most kinds are never used by one recipe
    )

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise _spec_error(type(self), error) from None

    # pydantic then makes nested specs without calling __init__, so that an error has its whole path
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        """What TOML and JSON write otherwise: "none" for None, a kind alone for its table, an array for a tuple."""
        if not isinstance(data, Mapping):
            return data
        forms = _forms(cls)
        return {key: forms[key].read(value) if key in forms else value for key, value in data.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data (dict, list, str, int, float, bool, None). Raises SpecError that names the field."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _spec_error(cls, error) from None

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
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise SpecError("recipe-unreadable", f"cannot read the recipe {path}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise SpecError("recipe-unreadable", f"cannot read the recipe {path}: it is not UTF-8 text.") from None
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

        return tomli_w.dumps(_toml_form(self.to_dict()))

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that depend on the content alone."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def edit(self, path: str, value: Any) -> Self:
        """A copy with the field at a dotted path changed; see ``edit_all``."""
        return self.edit_all({path: value})

    def edit_all(self, edits: Mapping[str, Any]) -> Self:
        """A copy with the fields at dotted paths changed, the outer ones first.

        A new ``kind`` comes with its defaults, then the edits inside it apply. A field inside something that is off switches
        it on. Raises SpecError if a path or the result is not allowed.
        """
        data = self.to_dict()
        outer_first = sorted(edits.items(), key=lambda edit: f".{edit[0]}".removesuffix(".kind").count("."))
        for path, value in outer_first:
            _put(type(self), data, path, value)
        return self.from_dict(data)

    def flat(self) -> dict[str, Any]:
        """Every leaf by its dotted path."""
        return dict(_leaves("", self.to_dict()))

    @classmethod
    def schema_text(cls) -> str:
        """The JSON Schema of what ``from_toml`` and ``from_json`` read, for editors."""
        schema = cls.model_json_schema(schema_generator=_ForEditors)
        return json.dumps({"$schema": _ForEditors.schema_dialect, **schema}, indent=2, ensure_ascii=False) + "\n"


def diff(a: Spec, b: Spec) -> dict[str, tuple[Any, Any]]:
    """What differs, by dotted path: ``{"optimizer.lr": (0.1, 0.01)}``; a side that lacks the field has None."""
    left, right = a.flat(), b.flat()
    pairs = {path: (left.get(path), right.get(path)) for path in {**left, **right}}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def _leaves(prefix: str, data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        path = _join(prefix, key)
        if isinstance(value, Mapping):
            yield from _leaves(path, value)
        else:
            yield path, value


def _toml_form(value: Any) -> Any:
    """None as "none", which TOML lacks; the kind at the head of its table."""
    if isinstance(value, Mapping):
        return {key: _toml_form(value[key]) for key in sorted(value, key=lambda key: key != "kind")}
    return OFF if value is None else value


@dataclass(frozen=True)
class _Form:
    """What a field takes beside its own values: None, an array or the one text in it, the specs of ``members``."""

    optional: bool
    array: bool
    texts: bool
    members: tuple[type[Spec], ...]

    @property
    def kinds(self) -> list[str]:
        """The kinds of a family; none where the field is no family."""
        return [kind for member in self.members for kind in kinds_of(member)] if len(self.members) > 1 else []

    @property
    def allowed(self) -> str:
        more = [f"and {len(self.kinds) - MOST_NAMED} more"] if len(self.kinds) > MOST_NAMED else []
        return ", ".join([*self.kinds[:MOST_NAMED], *more, *([OFF] if self.optional else [])])

    def read(self, value: Any) -> Any:
        if isinstance(value, str):
            if self.optional and value == OFF:
                return None
            return {"kind": value} if self.kinds else (value,) if self.texts else value
        return tuple(value) if self.array and isinstance(value, list) else value

    def member(self, kind: Any) -> type[Spec] | None:
        """The member with this kind, or the only one."""
        if len(self.members) == 1:
            return self.members[0]
        return next((member for member in self.members if kind in kinds_of(member)), None)


@cache
def _forms(spec: type[Spec]) -> dict[str, _Form]:
    """The form of every field of a spec."""
    return {name: _form(field.annotation) for name, field in spec.model_fields.items()}


def _form(annotation: Any) -> _Form:
    options = list(_options(annotation))
    members = tuple(option for option in options if isinstance(option, type) and issubclass(option, Spec))
    arrays = [option for option in options if get_origin(option) is tuple]
    return _Form(NoneType in options, bool(arrays), any(get_args(option)[0] is str for option in arrays), members)


def _options(annotation: Any) -> Iterator[Any]:
    """The members of a union, of unions inside it, or the annotation itself."""
    if get_origin(annotation) is Annotated:
        yield from _options(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _options(part)
    else:
        yield annotation


def kinds_of(member: type[Spec]) -> tuple[str, ...]:
    """The kinds that a spec goes by: most have one, a family of nets has one for each published variant."""
    return get_args(member.model_fields["kind"].annotation) if "kind" in member.model_fields else ()


def _put(owner: type[Spec], node: dict[str, Any], path: str, value: Any) -> None:
    """Sets the field at a dotted path in the plain data of a spec; a new kind is left alone there, to get its defaults."""
    place, (*parents, last) = "", path.split(".")
    is_kind = last == "kind" and bool(parents)
    if is_kind:
        *parents, last = parents
    for name in parents:
        owner, node = _enter(owner, node, name, place, path)
        place = _join(place, name)
    if last not in owner.model_fields:
        raise _unknown(owner, place, last)
    if not is_kind:
        if last == "kind" and node.get("kind") != value:
            node.clear()  # another kind comes with its own defaults
        node[last] = value
    elif not _forms(owner)[last].kinds:
        raise _closed(_join(place, last), path)
    elif not (isinstance(node.get(last), dict) and node[last].get("kind") == value):
        node[last] = {"kind": value}


def _enter(
    owner: type[Spec], node: dict[str, Any], name: str, place: str, path: str
) -> tuple[type[Spec], dict[str, Any]]:
    """The spec in field ``name``, and its plain data: its defaults where it is off or not yet there."""
    if name not in owner.model_fields:
        raise _unknown(owner, place, name)
    place, form = _join(place, name), _forms(owner)[name]
    if not form.members:
        raise _closed(place, path)
    inner = node[name] if name in node else owner.model_fields[name].get_default(call_default_factory=True)
    inner = inner.to_dict() if isinstance(inner, Spec) else form.read(inner)
    inner = dict(inner) if isinstance(inner, Mapping) else {}
    member = form.member(inner.get("kind"))
    if member is None:
        raise _no_kind(place, form, inner)
    node[name] = inner
    return member, inner


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _closed(place: str, path: str) -> SpecError:
    return SpecError("recipe-key", f"{place} has no fields of its own, so {path} cannot be set.")


def _unknown(owner: type[Spec], place: str, name: str) -> SpecError:
    allowed = [field for field in owner.model_fields if field != "kind"]
    inside = [_join(place, found) for found in _places(owner, name)]
    near = f" Did you mean {' or '.join(inside[:3])}?" if inside else did_you_mean(name, allowed)
    fields = ", ".join(allowed) if allowed else "nothing beside its kind"
    return SpecError("recipe-key", f"{_join(place, name)} is not a field.{near} Allowed: {fields}.")


def _places(owner: type[Spec], name: str) -> list[str]:
    """Where in the parts of a spec there is a field of this name, the shallow places first."""
    found = list[str]()
    for field, form in _forms(owner).items():
        for member in form.members:
            inner = [name] if name != "kind" and name in member.model_fields else _places(member, name)
            found += [_join(field, place) for place in inner]
    return sorted(dict.fromkeys(found), key=lambda place: place.count("."))


def _no_kind(place: str, form: _Form, given: Any) -> SpecError:
    kind = given.get("kind") if isinstance(given, Mapping) else given
    if kind is None:
        return SpecError("recipe-kind", f"{place} needs a kind. Allowed: {form.allowed}.")
    near = did_you_mean(str(kind), form.kinds)
    return SpecError("recipe-kind", f"{place} has no kind {_short(kind)}.{near} Allowed: {form.allowed}.")


def _spec_error(root: type[Spec], error: ValidationError) -> SpecError:
    """The first problem that pydantic found, as one sentence; a misspelt field before a missing one."""
    problems = error.errors(include_url=False)
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    owner, form, place, name = _walk(root, problem["loc"])
    where, given = _join(place, name) or root.__name__.lower(), problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            return _unknown(owner, place, name)
        case "missing":
            what = owner.model_fields[name].description
            return SpecError("recipe-missing", f"{where} is missing{f': {what}' if what else ''}".rstrip(".") + ".")
        case _ if form and form.kinds:
            return _no_kind(where, form, given)
        case "literal_error":
            allowed = re.findall("'([^']*)'", problem["ctx"]["expected"]) + ([OFF] if form and form.optional else [])
            near = did_you_mean(str(given), allowed)
            return SpecError(
                "recipe-value", f"{where} = {_short(given)} is not allowed.{near} Allowed: {', '.join(allowed)}."
            )
        case _:
            off = f", or {OFF}" if form and form.optional else ""
            return SpecError(
                "recipe-value", f"{where} = {_short(given)} is not allowed: {_reason(problem, owner)}{off}."
            )


def _walk(root: type[Spec], loc: Iterable[int | str]) -> tuple[type[Spec], _Form | None, str, str]:
    """The spec that owns a place or is it, the place's form, and its dotted path in two: the parents and the last name.

    pydantic's own path has, behind every family, the kind that it took.
    """
    owner, form, place, name = root, None, "", ""
    for part in loc:
        if form and form.kinds:
            owner, form = form.member(part) or owner, None
        elif isinstance(part, int):
            name, form = f"{name}[{part}]", None
        else:
            place, name, form = _join(place, name), part, _forms(owner).get(part)
            if form and len(form.members) == 1:
                owner = form.members[0]
    return owner, form, place, name


_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "string_unicode": "text in valid Unicode",
}


def _reason(problem: ErrorDetails, owner: type[Spec]) -> str:
    if problem["type"] == "value_error":
        return problem["msg"].removeprefix("Value error, ").rstrip(".")
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"it should be a table of {', '.join(owner.model_fields)}"
    if problem["type"] in _TYPES:
        return f"it should be {_TYPES[problem['type']]}"
    return f"it should {problem['msg'].split(' should ', 1)[-1]}"


def _short(value: object) -> str:
    """A value in at most 60 characters, as TOML has it where Python's own form is another."""
    if value is None or isinstance(value, bool):
        return OFF if value is None else str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _ForEditors(GenerateJsonSchema):
    """A schema that also takes the short forms: a kind alone for its table, "none" for what is off."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # a title says only the field's name again

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return {"anyOf": [self.generate_inner(schema["schema"]), {"enum": [None, OFF]}]}

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        tables = super().tagged_union_schema(schema)
        return {"anyOf": [tables, {"enum": sorted(map(str, schema["choices"]))}]}
