"""Causes before symptoms: which finding is reported first, and what is folded under it."""

import graphlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markone.diagnosis import concerns
from markone.diagnosis.causes import DATA, EXPLAINS, FIRST_STEP, PROVEN, RANK, STATES, STOCHASTIC, explains, fold
from markone.diagnosis.finding import Finding, Severity


def finding(slug: str, *, since: int = 1, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(slug, severity, f"{slug} since step {since}.", 2.0, 1.0, 0.9, since_step=since)


def shape(findings: list[Finding]) -> list[tuple[str, list[str]]]:
    return [(top.slug, [one.slug for one in top.folded]) for top in findings]


def test_every_slug_that_is_spoken_of_exists() -> None:
    assert set(RANK) >= concerns.OPTIMIZER | concerns.LOSS | STATES | STOCHASTIC
    assert not concerns.OPTIMIZER & concerns.LOSS


def test_nothing_found_is_nothing_said() -> None:
    assert fold([]) == []


def test_a_chain_is_one_finding() -> None:
    """Unscaled inputs flatten the first layer, so that no gradient passes and nothing is learned."""
    slugs = ("underfitting", "vanishing-gradient", "saturated-activation", "lr-too-low", "input-unnormalized")
    assert shape(fold(finding(slug, since=0 if slug.startswith("input") else 1) for slug in slugs)) == [
        ("input-unnormalized", ["saturated-activation", "vanishing-gradient", "lr-too-low", "underfitting"])
    ]


def test_a_rate_so_high_that_units_die() -> None:
    found = [finding("dead-relu", since=14), finding("lr-too-high", since=2), finding("underfitting", since=90)]
    assert shape(fold(found)) == [("lr-too-high", ["dead-relu", "underfitting"])]


def test_units_that_were_dead_from_the_start_are_not_the_rate_s_fault() -> None:
    found = [finding("dead-relu", since=FIRST_STEP), finding("lr-too-low"), finding("lr-too-high", since=2)]
    tops = dict(shape(fold(found)))
    assert "dead-relu" in tops


@pytest.mark.parametrize(("since", "top"), [(1, "exploding-gradient"), (7, "lr-too-high")])
def test_what_began_first_is_the_cause(since: int, top: str) -> None:
    found = [
        finding("exploding-gradient", since=since),
        finding("lr-too-high", since=5),
        finding("non-finite", since=9),
    ]
    (only,) = fold(found)
    assert only.slug == top
    assert len(only.folded) == 2


@pytest.mark.parametrize(
    ("dead", "vanished", "top"), [(1, 1, "dead-relu"), (3, 9, "dead-relu"), (9, 3, "vanishing-gradient")]
)
def test_of_two_states_the_earlier_explains_the_later(dead: int, vanished: int, top: str) -> None:
    found = [finding("dead-relu", since=dead), finding("vanishing-gradient", since=vanished)]
    assert [one.slug for one in fold(found)] == [top]


def test_causes_that_have_nothing_to_do_with_each_other_stay_apart() -> None:
    found = [finding("overfitting", severity=Severity.NOTE), finding("input-unnormalized"), finding("lr-too-low")]
    assert shape(fold(found)) == [("input-unnormalized", ["lr-too-low"]), ("overfitting", [])]


def test_a_cause_is_as_severe_as_what_it_leads_to() -> None:
    found = [finding("lr-too-high"), finding("non-finite", severity=Severity.SEVERE)]
    (top,) = fold(found)
    assert top.severity is Severity.SEVERE
    assert [one.severity for one in top.folded] == [Severity.SEVERE]


def test_a_note_explains_nothing_that_is_worse() -> None:
    found = [finding("input-unnormalized", severity=Severity.NOTE), finding("lr-too-high")]
    assert shape(fold(found)) == [("lr-too-high", []), ("input-unnormalized", [])]


def test_a_rate_explains_states_while_it_is_only_a_note() -> None:
    """While a training runs a high rate is a note, for the schedule may lower it; the units that it killed stay dead."""
    (top,) = fold([finding("lr-too-high", severity=Severity.NOTE), finding("dead-relu", since=8)])
    assert (top.slug, top.severity) == ("lr-too-high", Severity.WARNING)


def test_the_most_severe_comes_first() -> None:
    found = [finding("overfitting", severity=Severity.SEVERE), finding("input-unnormalized")]
    assert [one.slug for one in fold(found)] == ["overfitting", "input-unnormalized"]


@pytest.mark.parametrize("cause", sorted(EXPLAINS))
def test_nothing_explains_itself_and_no_symptom_is_a_cause_of_data(cause: str) -> None:
    assert cause not in EXPLAINS[cause]
    assert "input-unnormalized" not in EXPLAINS[cause]
    of_data = cause in DATA  # labels learned by heart, and parts that are not alike, look like variance
    assert cause in PROVEN or of_data or "overfitting" not in EXPLAINS[cause], (
        "variance is not what a failed training has"
    )


def test_bugs_explain_each_other_in_one_direction() -> None:
    """Else none of them would be told, and no chain of explanations would end."""
    graphlib.TopologicalSorter({bug: EXPLAINS.get(bug, frozenset()) & set(PROVEN) for bug in PROVEN}).prepare()


FINDINGS = st.lists(
    st.builds(finding, st.sampled_from(RANK), since=st.integers(0, 5), severity=st.sampled_from(Severity)),
    unique_by=lambda one: one.slug,
)


@given(FINDINGS, st.randoms())
def test_the_order_of_the_checks_does_not_matter(found: list[Finding], random: object) -> None:
    shuffled = found[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(shuffled) == fold(found)


@given(FINDINGS)
def test_every_finding_is_told_once(found: list[Finding]) -> None:
    tops = fold(found)
    told = [one for top in tops for one in (top.slug, *(inner.slug for inner in top.folded))]
    assert sorted(told) == sorted(one.slug for one in found)
    assert all(inner.folded == () for top in tops for inner in top.folded)


@given(FINDINGS)
def test_no_two_findings_explain_each_other(found: list[Finding]) -> None:
    for a, b in itertools.combinations(found, 2):
        assert not (explains(a, b) and explains(b, a))


@given(FINDINGS)
def test_a_state_follows_only_from_what_began_before(found: list[Finding]) -> None:
    for cause, symptom in itertools.permutations(found, 2):
        if cause.slug in STATES and symptom.slug in STATES and explains(cause, symptom):
            assert cause.since_step <= symptom.since_step
