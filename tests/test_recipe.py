"""Recipe: whole recipes round trip, every family takes and refuses what it should, and the import stays light."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import annotated_types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markone.errors import SpecError
from markone.recipe import Recipe
from markone.spec import MOST_NAMED, Spec, diff
from tests.random_specs import PLACES, Place, bounds, kinds, least, members, options, specs

FAMILIES = [place for place in PLACES if place.is_family]
recipes = specs(Recipe)


def refused(data: Any) -> str:
    """The sentence with which plain data is refused; it is one, and says nothing of pydantic."""
    with pytest.raises(SpecError) as caught:
        Recipe.from_dict(data)
    said = str(caught.value)
    assert said.endswith("."), said
    assert "\n" not in said
    for foreign in (
        "pydantic",
        "function-",
        "tagged-union",
        "Input should",
        "Value error",
        "NoneType",
        "discriminator",
    ):
        assert foreign not in said, said
    return said


@given(recipes)
@settings(max_examples=50, deadline=None)
def test_round_trip(recipe: Recipe) -> None:
    for again in (
        Recipe.from_toml(recipe.to_toml()),
        Recipe.from_json(recipe.to_json()),
        Recipe.from_dict(recipe.to_dict()),
        Recipe.from_dict({name: getattr(recipe, name) for name in Recipe.model_fields}),
    ):
        assert again == recipe
        assert again.digest == recipe.digest
        assert hash(again) == hash(recipe)
        assert again.to_dict() == recipe.to_dict()
        assert diff(again, recipe) == {}


@given(recipes)
@settings(max_examples=50, deadline=None)
def test_a_written_recipe_leaves_nothing_out(recipe: Recipe) -> None:
    def check(spec: Spec, written: dict[str, Any]) -> None:
        assert list(written) == list(type(spec).model_fields)
        for name, value in written.items():
            if isinstance(getattr(spec, name), Spec):
                check(getattr(spec, name), value)

    check(recipe, recipe.to_dict())
    assert "null" not in recipe.to_toml().replace('"null"', "")


@given(recipes, recipes)
@settings(max_examples=25, deadline=None)
def test_diff(a: Recipe, b: Recipe) -> None:
    found = diff(a, b)
    assert (not found) == (a == b)
    assert {path: (right, left) for path, (left, right) in found.items()} == diff(b, a)
    assert all((a.flat().get(path), b.flat().get(path)) == pair for path, pair in found.items())
    assert (a.digest == b.digest) == (a == b)


@given(recipes, st.data())
@settings(max_examples=50, deadline=None)
def test_edits(recipe: Recipe, data: st.DataObject) -> None:
    flat = recipe.flat()
    path = data.draw(st.sampled_from(sorted(flat)))
    value = flat[path]
    assert recipe.edit(path, value) == recipe
    assert recipe.edit(path, "none" if value is None else value) == recipe
    assert recipe.edit_all(flat) == recipe
    assert recipe.edit_all({path: flat[path] for path in sorted(flat, reverse=True)}) == recipe


@given(recipes, recipes)
@settings(max_examples=25, deadline=None)
def test_the_leaves_of_another_recipe_make_it_that_one(a: Recipe, b: Recipe) -> None:
    assert a.edit_all(b.flat()) == b


@pytest.mark.parametrize("place", FAMILIES, ids=str)
def test_kind(place: Place) -> None:
    """Three ways to choose a kind give that kind's defaults; a strange one is refused with the near one."""
    kind = kinds(place.member)[0]
    whole = Recipe.from_dict(place.around(least(place.member)))
    found: Any = whole
    for name in place.path.split("."):
        found = getattr(found, name)
    assert found == place.member.from_dict(least(place.member))
    if set(least(place.member)) == {"kind"}:
        assert Recipe.from_dict(place.around(kind)) == whole
    said = refused(place.around({**least(place.member), "kind": f"{kind}x"}))
    assert said.startswith(f"{place.path} has no kind '{kind}x'. Did you mean "), said
    every = [kind for member in place.alternatives for kind in kinds(member)]
    assert all(kind in said.split("Allowed: ")[1] for kind in every[:MOST_NAMED])
    assert (f"and {len(every) - MOST_NAMED} more" in said) == (len(every) > MOST_NAMED)
    assert said.endswith(", none.") == place.optional
    assert refused(place.around({})).startswith(f"{place.path} needs a kind. Allowed: ")
    assert refused(place.around(3)).startswith(f"{place.path} has no kind 3. Allowed: ")
    assert refused(place.around([kind])).startswith(f"{place.path} has no kind ['{kind}'].")


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_unknown_key(place: Place) -> None:
    fields = [name for name in place.member.model_fields if name != "kind"]
    strange = f"{fields[0]}x" if fields else "strange"
    said = refused(place.around({**least(place.member), strange: 1}))
    assert said.startswith(f"{place.path}.{strange} is not a field."), said
    if fields:
        assert f"Did you mean {fields[0]}?" in said
        assert said.endswith(f"Allowed: {', '.join(fields)}.")
    else:
        assert said.endswith("Allowed: nothing beside its kind.")


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_missing_key(place: Place) -> None:
    for name in set(least(place.member)) - {"kind"}:
        data = {key: value for key, value in least(place.member).items() if key != name}
        assert refused(place.around(data)).startswith(f"{place.path}.{name} is missing: ")


FIELDS = [
    *(
        (str(place), place.path, name, field, place)
        for place in PLACES
        for name, field in place.member.model_fields.items()
    ),
    *(("recipe", "", name, field, None) for name, field in Recipe.model_fields.items()),
]
VALUES = [
    pytest.param(path, name, field, place, id=f"{where}.{name}")
    for where, path, name, field, place in FIELDS
    if name != "kind" and not members(field.annotation)
]


def with_value(place: Place | None, name: str, value: Any) -> dict[str, Any]:
    return place.around({**least(place.member), name: value}) if place else {"data": "digits", name: value}


@pytest.mark.parametrize(("path", "name", "field", "place"), VALUES)
def test_wrong_type(path: str, name: str, field: Any, place: Place | None) -> None:
    """Whole numbers do for any number, but truth values and text do not; an optional field says so."""
    allowed = options(field.annotation)
    wrong: list[Any] = [{"a": 1}, {}, [["x"]]]
    wrong += [] if bool in allowed else [True]
    texts = str in allowed or tuple[str, ...] in allowed  # a single text may stand for the list of it
    wrong += [] if texts else ["strange text", "1"]
    wrong += [] if type(None) in allowed else [None]
    wrong += [1.5, 1.0] if float not in allowed else [float("nan"), float("inf"), float("-inf")]
    wrong += [1] if not {int, float} & set(allowed) else []
    place_name = f"{path}.{name}".lstrip(".")
    for value in wrong:
        said = refused(with_value(place, name, value))
        assert said.startswith((f"{place_name} = ", f"{place_name}[0] = ")), said
        assert ("none" in said.split("is not allowed")[1]) >= (
            type(None) in allowed and not said.startswith(f"{place_name}[")
        )


@pytest.mark.parametrize(("path", "name", "field", "place"), VALUES)
def test_out_of_range(path: str, name: str, field: Any, place: Place | None) -> None:
    low, high = bounds(tuple(field.metadata), step=0)
    opened = {type(bound) for bound in field.metadata}
    outside = [] if low is None else [low if annotated_types.Gt in opened else low - 1]
    outside += [] if high is None else [high if annotated_types.Lt in opened else high + 1]
    for value in outside:
        said = refused(with_value(place, name, value))
        place_name = f"{path}.{name}".lstrip(".")
        assert said.startswith(f"{place_name} = {value} is not allowed: it should be "), said


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        (
            {"net.dept": 3},
            "net.dept is not a field. Did you mean depth? Allowed: weights, depth, width, convs_per_stage,",
        ),
        ({"lr": 0.1}, "lr is not a field. Did you mean optimizer.lr? Allowed: data, split,"),
        (
            {"patience": 3},
            "patience is not a field. Did you mean schedule.patience or schedule.then.patience or regularization.",
        ),
        (
            {"schedule.kind": "warm-up", "schedule.final": 0.1},
            "schedule.final is not a field. Did you mean schedule.then.final?",
        ),
        (
            {"net.kind": "MLPP"},
            "net has no kind 'MLPP'. Did you mean mlp? Allowed: perceptron, mark-one, mlp, convnet, ",
        ),
        ({"net": None}, "net needs a kind. Allowed: perceptron, mark-one, mlp, convnet, "),
        ({"net": "none"}, "net has no kind 'none'."),
        ({"batch_size.x": 3}, "batch_size has no fields of its own, so batch_size.x cannot be set."),
        ({"split.kind": "x"}, "split has no fields of its own, so split.kind cannot be set."),
        (
            {"normalization": "none", "normalization.x": 1},
            "normalization needs a kind. Allowed: standardize, unit-range, fixed, none.",
        ),
        ({"nett.depth": 3}, "nett is not a field. Did you mean net?"),
        ({"net.depht.x": 3}, "net.depht is not a field. Did you mean depth?"),
        ({"": 3}, " is not a field."),
        ({"data.kind": "folder"}, "data.path is missing: "),
        ({"data": {"kind": "folder", "pth": "x"}}, "data.pth is not a field. Did you mean path?"),
        (
            {"precision": "bfloat"},
            "precision = 'bfloat' is not allowed. Did you mean bfloat16? Allowed: auto, float32, bfloat16.",
        ),
        ({"seconds": "soon"}, "seconds = 'soon' is not allowed: it should be a number, or none."),
        (
            {"split": {"validation": 0.5, "test": 0.5}},
            "split = {'validation': 0.5, 'test': 0.5} is not allowed: validation and",
        ),
        (
            {"schedule": {"kind": "step", "at": [0.5, "x"]}},
            "schedule.at[1] = 'x' is not allowed: it should be a number.",
        ),
        ({"net.width": 10**30}, "net.width = 1000000000000000000000000000000 is not allowed"),
        ({"device": "\ud800"}, "device = '\\ud800' is not allowed: it should be text in valid Unicode."),
        (
            {"device": "x" * 5000},
            "device = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx... is not allowed: it should have at",
        ),
        ({"device": sys}, "device = <module 'sys' (built-in)> is not allowed: it should be text."),
        ({"recording": [1]}, "recording = [1] is not allowed: it should be a table of vitals, vitals_budget,"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_refused_edits(edits: dict[str, Any], said: str) -> None:
    recipe = Recipe.from_dict({"data": "digits"})
    with pytest.raises(SpecError) as caught:
        recipe.edit_all(edits)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 400


def test_edits_that_switch_on_and_off() -> None:
    recipe = Recipe.from_dict({"data": "digits"})
    assert recipe.regularization.early_stopping is None
    patient = recipe.edit("regularization.early_stopping.patience", 3)
    assert patient.regularization.early_stopping is not None
    assert patient.regularization.early_stopping.patience == 3
    assert patient.edit("regularization.early_stopping", "none") == recipe
    assert patient.edit("regularization.early_stopping", None) == recipe
    bare = recipe.edit("normalization", "none")
    assert bare.normalization is None
    assert bare.edit("normalization.kind", "standardize") == bare.edit("normalization", "standardize") == recipe
    assert recipe.edit("seconds", 10).seconds == 10.0


def test_edits_of_kinds() -> None:
    recipe = Recipe.from_dict({"data": "digits", "net": {"kind": "mlp", "depth": 7}})
    assert recipe.edit("net.kind", "convnet") == recipe.edit("net", "convnet") == Recipe.from_dict({"data": "digits"})
    assert recipe.edit("net.kind", "mlp") == recipe, "the kind that it has already"
    assert recipe.edit("net", "mlp").flat()["net.depth"] == 2
    for edits in pairwise([("net.depth", 3), ("net.kind", "convnet"), ("net.depth", 3)]):
        assert recipe.edit_all(dict(edits)).net.to_dict() == {
            **Recipe.from_dict({"data": "digits"}).net.to_dict(),
            "depth": 3,
        }
    later = recipe.edit_all({"schedule.then.final": 0.1, "schedule.kind": "warm-up"})
    assert later.schedule.to_dict() == {"kind": "warm-up", "epochs": 1.0, "then": {"kind": "cosine", "final": 0.1}}
    folder = recipe.edit_all({"data.path": "x", "data.kind": "folder"})
    assert folder.data.to_dict()["path"] == "x"


def test_edit_takes_a_spec() -> None:
    recipe = Recipe.from_dict({"data": "digits"})
    deep = recipe.edit("net", "mlp").edit("net.depth", 5)
    assert recipe.edit("net", deep.net) == deep
    assert recipe.edit_all({"net.width": 9, "net": deep.net}) == deep.edit("net.width", 9)


def test_digest_is_of_the_content_alone() -> None:
    assert (
        Recipe.from_dict({"data": "digits"}).digest == Recipe.from_dict({"data": {"kind": "digits"}, "seed": 0}).digest
    )
    recipe = Recipe.from_toml('batch_size = 64\nseconds = 10\n[data]\nkind = "digits"')
    assert recipe.digest == Recipe.from_toml('data.kind = "digits"\nseconds = 10.0\nbatch_size = 64').digest
    found = {recipe.edit("seed", seed).digest for seed in range(100)}
    assert len(found) == 100
    assert all(len(digest) == 12 and set(digest) <= set("0123456789abcdef") for digest in found)


def test_kinds_lead_their_tables() -> None:
    """In a written recipe one reads first what a table is."""
    lines = Recipe.from_dict({"data": "digits"}).to_toml().splitlines()
    tables = {above: below for above, below in pairwise(lines) if above.startswith("[")}
    assert tables["[optimizer]"] == 'kind = "adamw"'
    assert tables["[net]"] == 'kind = "convnet"'


def test_tables_hold_what_the_families_hold() -> None:
    """A family's tuple and its union name the same members."""
    from markone.data.normalize import NORMALIZATIONS
    from markone.losses import LOSSES
    from markone.nets import NETS
    from markone.nets.initializers import INITIALIZATIONS
    from markone.optimizers import OPTIMIZERS
    from markone.rules import RULES
    from markone.schedules import SCHEDULES
    from markone.tasks import TASKS

    tables = {
        "normalization": NORMALIZATIONS,
        "task": TASKS,
        "net": NETS,
        "initialization": INITIALIZATIONS,
        "loss": LOSSES,
        "rule": RULES,
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
    }
    for name, table in tables.items():
        assert set(table) == set(members(Recipe.model_fields[name].annotation)), name
        assert len(set(table)) == len(table)


def test_the_import_is_light() -> None:
    heavy = ("torch", "sklearn", "polars", "PIL", "scipy", "pandas", "typer", "rich")
    program = f"import sys, markone.recipe; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


SCHEMA = json.loads(Recipe.schema_text())


def test_schema_is_fresh() -> None:
    written = Path(__file__).parents[1] / "docs" / "recipe.schema.json"
    assert written.read_text(encoding="utf-8") == Recipe.schema_text(), "write it anew: python scripts/schema.py"


def test_schema_describes_every_field() -> None:
    for name, schema in [("Recipe", SCHEMA), *SCHEMA["$defs"].items()]:
        assert schema["description"], name
        assert schema["additionalProperties"] is False, name
        for field, inner in schema["properties"].items():
            assert field == "kind" or inner.get("description"), f"{name}.{field} has no description"


@pytest.mark.parametrize("place", FAMILIES, ids=str)
def test_schema_tells_families_apart(place: Place) -> None:
    *parents, last = place.path.split(".")
    owner = SCHEMA
    for name in parents:
        target = next(p.member for p in PLACES if p.path == name and last in p.member.model_fields)
        owner = SCHEMA["$defs"][target.__name__]
    text = json.dumps(owner["properties"][last])
    assert '"propertyName": "kind"' in text
    assert all(f'"{kind}": "#/$defs/' in text for member in place.alternatives for kind in kinds(member))


def fits(schema: dict[str, Any], value: Any) -> bool:
    """JSON Schema, as far as ours goes; a keyword that is not known here fails the test."""
    types: dict[str, Any] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "object": dict,
        "array": list,
    }

    def holds(keyword: str, rule: Any) -> bool:
        match keyword:
            case "$ref":
                return fits(SCHEMA["$defs"][rule.removeprefix("#/$defs/")], value)
            case "anyOf":
                return any(fits(option, value) for option in rule)
            case "oneOf":
                return sum(fits(option, value) for option in rule) == 1
            case "type":
                return (rule == "boolean") == isinstance(value, bool) and isinstance(value, types[rule])
            case "const":
                return bool(value == rule)
            case "enum":
                return bool(value in rule)
            case "maxLength" | "maxItems":
                return len(value) <= rule
            case "minItems":
                return len(value) >= rule
            case "minimum":
                return bool(value >= rule)
            case "maximum":
                return bool(value <= rule)
            case "exclusiveMinimum":
                return bool(value > rule)
            case "exclusiveMaximum":
                return bool(value < rule)
            case "required":
                return all(name in value for name in rule)
            case "properties":
                return all(name not in value or fits(inner, value[name]) for name, inner in rule.items())
            case "additionalProperties":
                return rule is not False or set(value) <= set(schema["properties"])
            case "items":
                return all(fits(rule, item) for item in value)
            case "title" | "description" | "default" | "discriminator" | "$schema" | "$defs":
                return True
        raise AssertionError(f"{keyword} is not known here")

    if "type" in schema and not holds("type", schema["type"]):
        return False
    return all(holds(keyword, rule) for keyword, rule in schema.items())


@given(recipes)
@settings(max_examples=50, deadline=None)
def test_schema_takes_what_recipes_write(recipe: Recipe) -> None:
    import tomllib

    assert fits(SCHEMA, json.loads(recipe.to_json()))
    assert fits(SCHEMA, tomllib.loads(recipe.to_toml()))


def test_schema_takes_short_forms_and_refuses_the_rest() -> None:
    assert fits(SCHEMA, {"data": "digits", "net": "mlp", "normalization": "none", "seconds": "none", "seed": 3})
    for edits in (
        {"net": "mpl"},
        {"net": {"kind": "mlp", "dept": 3}},
        {"net": {"depth": 3}},
        {"net": {"kind": "mlp", "depth": -1}},
        {"seconds": "soon"},
        {"seed": True},
        {"strange": 1},
        {"optimizer": "none"},
    ):
        assert not fits(SCHEMA, {"data": "digits", **edits}), edits
    assert not fits(SCHEMA, {})
