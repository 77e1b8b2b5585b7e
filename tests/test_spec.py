"""Spec on small families of its own: what is read, written, edited and refused."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from markone.errors import SpecError, did_you_mean
from markone.spec import KIND, Spec, diff


class Apple(Spec):
    """A fruit."""

    kind: Literal["apple"] = "apple"
    sweet: float = Field(0.5, ge=0, le=1, description="how sweet")
    seeds: int = Field(5, ge=0, description="how many seeds")


class Citrus(Spec):
    """Fruits of one class with two kinds."""

    kind: Literal["lemon", "lime"]
    slices: tuple[int, ...] = Field((), description="how big each slice is")


Fruit = Annotated[Apple | Citrus, KIND]


class Plate(Spec):
    """A plate."""

    round: bool = Field(True, description="whether it is round")


class Basket(Spec):
    """What holds fruit."""

    fruit: Fruit = Field(Apple(), description="the fruit")
    second: Fruit | None = Field(None, description="another one")
    plate: Plate | None = Field(None, description="what it stands on")
    label: str | None = Field(None, description="what is written on it")
    owner: str = Field("none", description="whose it is")
    ribbon: Literal["none", "red", "blue"] = Field("none", description="its colour")
    weights: tuple[float, ...] | None = Field(None, description="in grams")


def refused(data: Any) -> str:
    with pytest.raises(SpecError) as caught:
        Basket.from_dict(data)
    return str(caught.value)


def test_specs_are_values() -> None:
    assert Basket() == Basket.from_dict({})
    assert hash(Basket()) == hash(Basket())
    assert Basket(fruit=Apple(seeds=1)) != Basket()
    with pytest.raises(ValidationError, match="frozen"):
        Basket().owner = "me"  # type: ignore[misc]


def test_python_takes_what_toml_takes() -> None:
    short = Basket(fruit="lime", second="none", plate={}, weights=[1, 2.5])  # type: ignore[arg-type]
    assert short == Basket(fruit=Citrus(kind="lime"), plate=Plate(), weights=(1.0, 2.5))
    assert type(short.weights) is tuple
    assert [type(weight) for weight in short.weights or ()] == [float, float]
    assert short == Basket.from_toml('fruit = "lime"\nsecond = "none"\nweights = [1, 2.5]\n[plate]\n')
    assert short == Basket.from_json('{"fruit": "lime", "second": null, "plate": {}, "weights": [1, 2.5]}')


def test_none_is_a_word_where_nothing_can_be_off() -> None:
    basket = Basket.from_toml('owner = "none"\nribbon = "none"\nlabel = "none"')
    assert (basket.owner, basket.ribbon, basket.label) == ("none", "none", None)
    assert Basket.from_toml(basket.to_toml()) == basket


def test_toml_is_whole_and_begins_tables_with_their_kind() -> None:
    assert Basket(second=Citrus(kind="lemon", slices=(1, 2))).to_toml() == (
        'plate = "none"\nlabel = "none"\nowner = "none"\nribbon = "none"\nweights = "none"\n\n'
        '[fruit]\nkind = "apple"\nsweet = 0.5\nseeds = 5\n\n[second]\nkind = "lemon"\nslices = [\n    1,\n    2,\n]\n'
    )


@given(st.text(), st.lists(st.floats(allow_nan=False, allow_infinity=False)), st.lists(st.integers()))
def test_any_text_and_number_round_trips(text: str, weights: list[float], slices: list[int]) -> None:
    basket = Basket(owner=text, weights=tuple(weights), second=Citrus(kind="lime", slices=tuple(slices)))
    for again in (Basket.from_toml(basket.to_toml()), Basket.from_json(basket.to_json())):
        assert again == basket
        assert again.digest == basket.digest


def test_digest() -> None:
    """A number for life: the digest of what was written once must not change."""
    assert Basket().digest == "c54020856314"
    assert Basket(weights=(1,)).digest == Basket(weights=(1.0,)).digest != Basket().digest


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"fruit": "appel"}, "fruit has no kind 'appel'. Did you mean apple? Allowed: apple, lemon, lime."),
        ({"fruit": "APPLE"}, "fruit has no kind 'APPLE'. Did you mean apple? Allowed: apple, lemon, lime."),
        ({"second": "pear"}, "second has no kind 'pear'. Allowed: apple, lemon, lime, none."),
        ({"second": {}}, "second needs a kind. Allowed: apple, lemon, lime, none."),
        ({"fruit": {"kind": None}}, "fruit needs a kind. Allowed: apple, lemon, lime."),
        ({"fruit": {"kind": 7}}, "fruit has no kind 7. Allowed: apple, lemon, lime."),
        (
            {"fruit": {"kind": ["apple"]}},
            "fruit has no kind ['apple']. Did you mean apple? Allowed: apple, lemon, lime.",
        ),
        (
            {"second": {"kind": "apple", "seed": 1}},
            "second.seed is not a field. Did you mean seeds? Allowed: sweet, seeds.",
        ),
        (
            {"second": {"kind": "lime", "slices": [1, "2"]}},
            "second.slices[1] = '2' is not allowed: it should be a whole number.",
        ),
        (
            {"fruit": {"kind": "apple", "sweet": 2}},
            "fruit.sweet = 2 is not allowed: it should be less than or equal to 1.",
        ),
        ({"fruit": {"kind": "apple", "seeds": 2.0}}, "fruit.seeds = 2.0 is not allowed: it should be a whole number."),
        ({"plate": 3}, "plate = 3 is not allowed: it should be a table of round, or none."),
        ({"plate": {"round": 1}}, "plate.round = 1 is not allowed: it should be true or false."),
        ({"plate": {"rund": True}}, "plate.rund is not a field. Did you mean round? Allowed: round."),
        ({"label": 3}, "label = 3 is not allowed: it should be text, or none."),
        ({"owner": None}, "owner = none is not allowed: it should be text."),
        ({"ribbon": "bleu"}, "ribbon = 'bleu' is not allowed. Did you mean blue? Allowed: none, red, blue."),
        ({"weights": "heavy"}, "weights = 'heavy' is not allowed: it should be a list, or none."),
        ({"weights": [float("nan")]}, "weights[0] = nan is not allowed: it should be a finite number."),
        (
            {"frut": 1},
            "frut is not a field. Did you mean fruit? Allowed: fruit, second, plate, label, owner, ribbon, weights.",
        ),
        ({"round": 1}, "round is not a field. Did you mean plate.round? Allowed: fruit, second, plate, label,"),
        ([1], "basket = [1] is not allowed: it should be a table of fruit, second, plate,"),
    ],
)
def test_refused(data: Any, said: str) -> None:
    assert refused(data).startswith(said)


def test_a_misspelt_field_is_told_before_a_missing_one() -> None:
    class Box(Spec):
        path: str = Field(description="where it is")

    with pytest.raises(SpecError, match=r"^paht is not a field. Did you mean path\? Allowed: path.$"):
        Box.from_dict({"paht": "x"})
    with pytest.raises(SpecError, match=r"^path is missing: where it is.$"):
        Box.from_dict({})


def test_a_long_value_is_shortened() -> None:
    assert len(refused({"plate": "x" * 1000})) < 150


@pytest.mark.parametrize(
    ("data", "slug"), [({"x": 1}, "recipe-key"), ({"fruit": "x"}, "recipe-kind"), ({"owner": 1}, "recipe-value")]
)
def test_slugs(data: Any, slug: str) -> None:
    with pytest.raises(SpecError) as caught:
        Basket.from_dict(data)
    assert caught.value.slug == slug


def test_edit() -> None:
    basket = Basket()
    assert basket.edit("fruit.seeds", 7) == Basket(fruit=Apple(seeds=7))
    assert basket.edit("second.kind", "lime") == basket.edit("second", "lime") == Basket(second=Citrus(kind="lime"))
    assert basket.edit("plate.round", False) == Basket(plate=Plate(round=False))
    assert basket.edit("weights", [1, 2]) == Basket(weights=(1.0, 2.0))
    assert basket.edit("fruit", Citrus(kind="lime")) == basket.edit("fruit.kind", "lime")
    assert basket.edit_all({"fruit.slices": [3], "fruit.kind": "lemon"}).fruit == Citrus(kind="lemon", slices=(3,))
    lemon = Basket(fruit=Citrus(kind="lemon", slices=(3,)))
    assert lemon.edit("fruit.kind", "lime") == Basket(fruit=Citrus(kind="lime")), "another kind of the same class"
    assert Apple().edit("seeds", 0) == Apple(seeds=0)
    assert basket == Basket(), "an edit leaves the original as it was"
    given = {"kind": "apple", "seeds": 1}
    assert basket.edit_all({"fruit": given, "fruit.seeds": 2}).fruit == Apple(seeds=2)
    assert given == {"kind": "apple", "seeds": 1}, "and what it was given"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("fruit.seed", 3, "fruit.seed is not a field. Did you mean seeds? Allowed: sweet, seeds."),
        ("seeds", 3, "seeds is not a field. Did you mean fruit.seeds or second.seeds? Allowed: fruit, second,"),
        ("fruits.seeds", 3, "fruits is not a field. Did you mean fruit? Allowed:"),
        ("second.seeds", 3, "second needs a kind. Allowed: apple, lemon, lime, none."),
        ("label.kind", "x", "label has no fields of its own, so label.kind cannot be set."),
        ("plate.kind", "x", "plate has no fields of its own, so plate.kind cannot be set."),
        ("owner.name.first", "x", "owner has no fields of its own, so owner.name.first cannot be set."),
        ("fruit.kind.x", 3, "fruit.kind has no fields of its own, so fruit.kind.x cannot be set."),
        ("kind", "x", "kind is not a field. Allowed: fruit,"),
        ("fruit.seeds", "3", "fruit.seeds = '3' is not allowed: it should be a whole number."),
        ("fruit", None, "fruit needs a kind. Allowed: apple, lemon, lime."),
    ],
)
def test_refused_edit(path: str, value: Any, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        Basket().edit(path, value)
    assert str(caught.value).startswith(said)


def test_diff() -> None:
    assert diff(Basket(), Basket()) == {}
    assert diff(Basket(), Basket(owner="me", plate=Plate())) == {"plate.round": (None, True), "owner": ("none", "me")}
    assert diff(Basket(), Basket(fruit=Citrus(kind="lime"))) == {
        "fruit.kind": ("apple", "lime"),
        "fruit.sweet": (0.5, None),
        "fruit.seeds": (5, None),
        "fruit.slices": (None, []),
    }


def test_a_family_made_at_run_time() -> None:
    class Shelf(Spec):
        top: Annotated[Apple | Citrus, KIND] = Field(Apple(), description="what lies on top")  # type: ignore[valid-type]

    assert Shelf.from_dict({"top": "lemon"}).top == Citrus(kind="lemon")
    with pytest.raises(SpecError, match=r"^top has no kind 'lemn'. Did you mean lemon\? Allowed: apple, lemon, lime.$"):
        Shelf.from_dict({"top": "lemn"})


def test_load(tmp_path: Path) -> None:
    basket = Basket(owner="Jürgen ☺")
    toml, json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text(basket.to_toml(), encoding="utf-8-sig")
    json.write_text(basket.to_json(), encoding="utf-8")
    assert Basket.load(toml) == Basket.load(json) == basket


@pytest.mark.parametrize(
    ("name", "content", "slug", "said"),
    [
        (
            "a.toml",
            b"owner = ",
            "recipe-not-toml",
            "a.toml: the recipe is not valid TOML: Invalid value (at end of document).",
        ),
        ("a.json", b"{", "recipe-not-json", "a.json: the recipe is not valid JSON: Expecting property name"),
        ("a.toml", b"owner = 3", "recipe-value", "a.toml: owner = 3 is not allowed: it should be text."),
        ("a.toml", b"owner = 2026-11-23", "recipe-value", "a.toml: owner = datetime.date(2026, 11, 23) is not allowed"),
        ("a.toml", b"\xff\xfe", "recipe-unreadable", "a.toml: it is not UTF-8 text."),
        ("absent.toml", None, "recipe-unreadable", "absent.toml: No such file or directory."),
    ],
)
def test_load_refuses(tmp_path: Path, name: str, content: bytes | None, slug: str, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError) as caught:
        Basket.load(tmp_path / name)
    assert said in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert caught.value.slug == slug


def test_did_you_mean() -> None:
    assert did_you_mean("dept", ["depth", "width"]) == " Did you mean depth?"
    assert did_you_mean("AdamW", ["adam", "adamw"]) == " Did you mean adamw?"
    assert did_you_mean("iris", ["IRIS"]) == " Did you mean IRIS?"
    assert did_you_mean("xyz", ["depth", "width"]) == did_you_mean("depth", []) == ""
