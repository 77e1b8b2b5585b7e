"""Every member of every family of nets, initializations, losses, optimizers, schedules, and Regularization, as a spec."""

import subprocess
import sys
from typing import Any, get_args

import pytest

from markone.losses import LOSSES, Loss
from markone.nets import NETS, Net
from markone.nets.initializers import INITIALIZATIONS, Initialization
from markone.optimizers import OPTIMIZERS, Optimizer
from markone.regularizers import EarlyStopping, Regularization
from markone.rules import RULES, Rule
from markone.schedules import SCHEDULES, Schedule
from markone.spec import Spec

FAMILIES: list[tuple[Any, tuple[type[Spec], ...]]] = [
    (Net, NETS),
    (Initialization, INITIALIZATIONS),
    (Loss, LOSSES),
    (Rule, RULES),
    (Optimizer, OPTIMIZERS),
    (Schedule, SCHEDULES),
]
MEMBERS = [*(member for _, table in FAMILIES for member in table), Regularization, EarlyStopping]

each = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: f"{member.__module__}.{member.__name__}")


@pytest.mark.parametrize(("union", "table"), FAMILIES)
def test_table_and_union_are_the_same(union: Any, table: tuple[type[Spec], ...]) -> None:
    assert get_args(get_args(union)[0]) == table


@pytest.mark.parametrize(("union", "table"), FAMILIES)
def test_kinds_are_distinct_and_kebab_case(union: Any, table: tuple[type[Spec], ...]) -> None:
    kinds = [member.model_fields["kind"].default for member in table]
    assert len(set(kinds)) == len(kinds)
    assert all(kind == kind.lower() and kind.replace("-", "").replace(".", "").isalnum() for kind in kinds)


@each
def test_round_trips(member: type[Spec]) -> None:
    spec = member()
    assert member.from_toml(spec.to_toml()) == spec
    assert member.from_json(spec.to_json()) == spec
    assert member.from_dict(spec.to_dict()).digest == spec.digest


@each
def test_every_field_has_a_description(member: type[Spec]) -> None:
    for name, field in member.model_fields.items():
        assert name == "kind" or field.description, f"{member.__name__}.{name}"


@each
def test_every_member_has_a_docstring_of_its_own(member: type[Spec]) -> None:
    assert member.__doc__
    assert member.__doc__ not in {base.__doc__ for base in member.__mro__[1:]}


def test_specs_do_without_torch() -> None:
    """Reading a recipe must not load torch: that alone takes longer than answering --help may."""
    modules = "losses metrics optimizers schedules regularizers rules nets"
    modules += " nets.initializers nets.arithmetic nets.summary"
    lines = [f"import markone.{module}" for module in modules.split()]
    code = ";".join([*lines, "import sys", "print([m for m in ('torch', 'sklearn', 'numpy') if m in sys.modules])"])
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
