"""Reports: numbers in words, curves, scores, comparisons, the page."""

import doctest
import itertools
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markone.cli import main
from markone.diagnosis.cases import case
from markone.diagnosis.causes import RANK
from markone.diagnosis.diagnose import diagnose
from markone.diagnosis.finding import Finding, Severity
from markone.report import chart, live, markdown, text, titles, words
from markone.report import sparkline as sparklines
from markone.report.chart import MOST_POINTS, Curve, decades, smooth, ticks
from markone.report.comparison import compare_runs, error_ratio, newcombe, simpler
from markone.report.figures import FIGURES
from markone.report.heatmap import MOST_ROWS, heatmap
from markone.report.html import report_html, write_report
from markone.report.markdown import markdown_report
from markone.report.sarif import sarif_document
from markone.report.score import Score, score_of
from markone.report.sparkline import BARS, sparkline
from markone.report.summary import count_findings, summarize_run
from markone.training.loop import fit
from markone.training.run import Run, Series
from tests.synthetic_run import write_run

FINITE = st.floats(-1e9, 1e9, allow_nan=False)


def finding(severity: Severity = Severity.SEVERE, **changes: object) -> Finding:
    given = {"slug": "dead-relu", "severity": severity, "message": "41 % of <the> units are dead.", "measured": 0.41}
    return Finding(**{**given, "reference": 0.0, "confidence": 0.9, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "module", [words, sparklines, chart, titles, text, live, markdown], ids=lambda module: module.__name__
)
def test_the_examples_run(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


class TestWords:
    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.0, "0 %"), (1.0, "100 %"), (0.5, "50.0 %"), (0.99996, "99.996 %"), (0.00001, "0.001 %"), (math.nan, "NaN")],
    )
    def test_share(self, value: float, text: str) -> None:
        assert words.share(value) == text

    @given(st.floats(1e-12, 1 - 1e-12))
    def test_only_none_is_0_and_only_all_is_100_percent(self, fraction: float) -> None:
        assert words.share(fraction) not in ("0 %", "0.0 %", "100 %", "100.0 %")

    @given(st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf, -math.inf]))
    def test_numbers_are_within_half_a_percent(self, value: float) -> None:
        text = words.number(value).replace(",", "").replace("infinity", "inf")
        assert math.isnan(value) or float(text) == pytest.approx(value, rel=0.005)


class TestSparkline:
    def test_scale(self) -> None:
        assert sparkline([0, 7]) == "▁█"
        assert sparkline([0, 7], lowest=0, highest=14) == "▁▅"

    def test_past_two_decades_it_is_logarithmic(self) -> None:
        assert sparkline([1, 10, 100, 1000, 10000, 100000, 1000000, 10000000]) == BARS

    def test_what_is_not_finite_shows(self) -> None:
        assert sparkline([1.0, math.nan, 2.0, math.inf]) == "▁×█×"
        assert sparkline([]) == ""

    @given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=200), st.integers(1, 60))
    def test_it_is_never_longer_than_asked(self, values: list[float], width: int) -> None:
        assert len(sparkline(values, width=width)) == min(len(values), width)


class TestChart:
    @given(st.lists(st.tuples(st.floats(0, 1e6), FINITE), min_size=1, max_size=50), st.booleans())
    def test_every_chart_is_well_formed_and_inside_its_frame(
        self, points: list[tuple[float, float]], low: bool
    ) -> None:
        x, y = (np.array(values) for values in zip(*sorted(points), strict=True))
        drawn = ElementTree.fromstring(chart.chart("a <title>", [Curve("a & b", x, abs(y) if low else y)], end=x.max()))
        (line,) = drawn.iter("polyline")
        places = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        assert all(chart.LEFT - 1 <= px <= chart.WIDTH - chart.RIGHT + 1 for px, _ in places)
        assert all(chart.TOP - 1 <= py <= chart.HEIGHT - chart.BOTTOM + 1 for _, py in places)

    def test_nothing_to_draw_is_no_chart(self) -> None:
        nothing = np.array([math.nan])
        assert chart.chart("loss", [Curve("a", nothing, nothing)], end=1) == ""
        reference = Curve("blind guess", np.array([0.0, 1.0]), np.array([2.0, 2.0]), "reference")
        assert chart.chart("loss", [reference], end=1) == ""

    def test_long_curves_keep_their_extremes(self) -> None:
        y = np.sin(np.arange(20_000) / 7)
        y[12_345] = 50
        drawn = ElementTree.fromstring(chart.chart("loss", [Curve("a", np.arange(20_000.0), y)], end=20_000))
        points = next(drawn.iter("polyline")).attrib["points"].split()
        assert len(points) <= MOST_POINTS
        assert min(float(point.split(",")[1]) for point in points) == pytest.approx(chart.TOP, abs=0.1)

    def test_labels_do_not_collide(self) -> None:
        x = np.array([0.0, 1.0])
        curves = [Curve(name, x, np.array([0.0, 1.0 + i / 1000])) for i, name in enumerate("abc")]
        drawn = ElementTree.fromstring(chart.chart("loss", curves, end=1))
        heights = sorted(float(t.attrib["y"]) for t in drawn.iter("text") if "end" in t.attrib["class"])
        assert all(b - a >= chart.LABEL_HEIGHT - 0.1 for a, b in itertools.pairwise(heights))

    def test_the_spoken_label_has_the_last_value(self) -> None:
        curve = Curve("training", np.array([0.0, 1]), np.array([0.1, 0.9]))
        drawn = chart.chart("accuracy", [curve], end=1, as_share=True)
        assert 'aria-label="accuracy: training 90.0 %"' in drawn

    @given(FINITE, st.floats(1e-6, 1e9))
    def test_ticks_are_few_and_inside(self, low: float, span: float) -> None:
        high = low + span
        if high <= low or span < abs(low) * 1e-9:
            return
        found = ticks(low, high)
        assert 1 <= len(found) <= 5
        assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in found)

    @given(st.floats(1e-12, 1e3), st.floats(100.1, 1e12))
    def test_decades_are_few_and_inside(self, low: float, factor: float) -> None:
        found = decades(low, low * factor)
        assert 1 <= len(found) <= 6
        assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in found)

    @given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(1, 50))
    def test_smooth_is_the_mean_of_neighbours(self, values: list[float], window: int) -> None:
        got = smooth(np.array(values), window)
        for place in range(len(values)):
            near = values[max(0, place - window // 2) : place + (window + 1) // 2]
            assert got[place] == pytest.approx(np.mean(near), abs=1e-6)


class TestScore:
    def test_validation_judges(self, tmp_path: Path) -> None:
        score = score_of(write_run(tmp_path / "run"))
        assert score == Score("accuracy", "validation", 0.9, 0.1, 200, True)
        assert score.beats_blind

    def test_luck_does_not_beat_a_blind_guess(self, tmp_path: Path) -> None:
        score = score_of(write_run(tmp_path / "run", accuracies=(0.1, 0.12)))
        assert score is not None
        assert not score.beats_blind

    def test_a_lower_error_beats_a_higher_one(self) -> None:
        assert Score("rmse", "validation", 0.5, 1.0, 100, False).beats_blind
        assert not Score("rmse", "validation", 1.5, 1.0, 100, False).beats_blind

    @pytest.mark.parametrize(
        ("name", "value", "blind", "beats"),
        [
            ("mean_iou", 0.142, 0.139, False),
            ("mean_iou", 0.3, 0.139, True),
            ("pixel_accuracy", 0.81, 0.8, False),
            ("r2", 0.09, 0.0, False),
            ("r2", 0.11, 0.0, True),
            ("rmse", 0.91**0.5, 1.0, False),
            ("rmse", 0.89**0.5, 1.0, True),
            ("loss", 0.6, 0.0, False),
        ],
    )
    def test_a_hair_does_not_beat_a_blind_guess(self, name: str, value: float, blind: float, beats: bool) -> None:
        assert Score(name, "validation", value, blind, 100, name not in ("rmse", "loss")).beats_blind is beats

    def test_before_the_first_evaluation_there_is_none(self, tmp_path: Path) -> None:
        assert score_of(write_run(tmp_path / "run", accuracies=(), steps=0)) is None


class TestSummary:
    @pytest.mark.parametrize(
        ("accuracies", "status", "findings", "headline"),
        [
            ((0.1, 0.9), "finished", [], "This network has learned."),
            ((0.1, 0.9), "finished", [finding(Severity.NOTE)], "This network has learned."),
            ((0.1, 0.9), "finished", [finding(Severity.WARNING)], "This network learns, but 1 cause holds it back."),
            ((0.1, 0.9), "finished", [finding()] * 2, "This network learns, but 2 causes hold it back."),
            ((0.1, 0.1), "finished", [finding()], "This network is not learning, and we know why."),
            ((0.1, 0.1), "finished", [], "This network is no better than a blind guess."),
            ((), "interrupted", [], "This training has not finished an epoch yet."),
        ],
    )
    def test_headline(
        self, tmp_path: Path, accuracies: tuple[float, ...], status: str, findings: list[Finding], headline: str
    ) -> None:
        run = write_run(tmp_path / "run", accuracies=accuracies, status=status, steps=None if accuracies else 0)
        assert summarize_run(run, findings).headline == headline

    def test_lead_names_net_data_effort_and_result(self, tmp_path: Path) -> None:
        lead = summarize_run(write_run(tmp_path / "run"), []).lead
        assert lead == (
            "A convnet with 1,000 parameters on digits. After 20 steps (2 epochs, 3.0 s) it gets 90.0 % of the 200 "
            "validation samples right; a blind guess gets 10.0 %."
        )

    def test_there_are_five_numbers(self, tmp_path: Path) -> None:
        numbers = dict(summarize_run(write_run(tmp_path / "run"), [finding()]).numbers)
        assert numbers == {
            "Validation accuracy": "90.0 %",
            "Blind guess": "10.0 %",
            "Loss": "0.24",
            "Steps": "20",
            "Findings": "1 severe",
        }

    def test_findings_are_counted_by_severity(self) -> None:
        found = [finding(Severity.NOTE), finding(), finding(Severity.WARNING), finding(Severity.WARNING)]
        assert count_findings(found) == "1 severe, 2 warnings, 1 note"
        assert count_findings([]) == "none"


class TestComparison:
    def test_newcombe_equals_the_published_interval(self) -> None:
        """Newcombe 1998, table II, method 10: 56/70 against 48/80 gives 0.0524 to 0.3339; 9/10 against 3/10 0.1705 to 0.8090."""
        found = newcombe(48, 80, 56, 70)
        assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
        found = newcombe(3, 10, 9, 10)
        assert (found.value, found.low, found.high) == pytest.approx((0.6, 0.1705, 0.8090), abs=5e-5)

    @given(st.integers(0, 50), st.integers(0, 50))
    def test_newcombe_is_antisymmetric_and_in_range(self, a: int, b: int) -> None:
        forth, back = newcombe(a, 50, b, 50), newcombe(b, 50, a, 50)
        assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
        assert -1 <= forth.low <= forth.value <= forth.high <= 1

    def test_the_error_ratio_covers_as_often_as_it_says(self) -> None:
        """1,000 pairs of nets of equal error on 200 samples each: about 95 % of the intervals hold 1."""
        generator = np.random.default_rng(0)
        errors = np.sqrt((generator.standard_normal((1000, 2, 200)) ** 2).mean(2))
        held = [not error_ratio(float(a), 200, float(b), 200).excludes_none for a, b in errors]
        assert 0.93 <= np.mean(held) <= 0.97

    def test_a_sure_difference(self, tmp_path: Path) -> None:
        a, b = write_run(tmp_path / "a", accuracies=(0.1, 0.6)), write_run(tmp_path / "b", accuracies=(0.1, 0.9))
        found = compare_runs(a, b)
        assert (found.verdict, found.preferred) == ("b-better", "b")
        assert found.difference is not None
        assert found.difference.low > 0
        assert compare_runs(b, a).verdict == "a-better"

    def test_without_a_sure_difference_the_simpler_one_is_preferred(self, tmp_path: Path) -> None:
        a = write_run(tmp_path / "a", accuracies=(0.1, 0.91), complexity=(5000, 90, 9))
        b = write_run(tmp_path / "b", accuracies=(0.1, 0.90), complexity=(1000, 50, 5), edits={"net.width": 8})
        found = compare_runs(a, b)
        assert (found.verdict, found.preferred) == ("no-difference", "b")
        assert "the simpler one, b, is preferred (1,000 non-zero weights against 5,000)" in found.why
        assert found.recipe == {"net.width": (32, 8)}

    def test_norms_decide_where_the_counts_print_alike(self, tmp_path: Path) -> None:
        a = write_run(tmp_path / "a", complexity=(26121, 90, 9))
        b = write_run(tmp_path / "b", complexity=(26120, 50, 12))
        assert simpler(a, b)[0] == "a"

    def test_equal_runs_have_no_preference(self, tmp_path: Path) -> None:
        found = compare_runs(write_run(tmp_path / "a"), write_run(tmp_path / "b"))
        assert (found.verdict, found.preferred) == ("no-difference", None)

    def test_different_data_cannot_be_compared(self, tmp_path: Path) -> None:
        found = compare_runs(write_run(tmp_path / "a"), write_run(tmp_path / "b", data="iris"))
        assert (found.verdict, found.difference) == ("not-comparable", None)
        assert "different data, digits and iris" in found.why


class Page(HTMLParser):
    """What a browser would fetch, and which elements were left open."""

    VOID = frozenset({"meta", "link", "br", "line", "polyline"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]


class TestPage:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Run:
        return write_run(tmp_path / "run")

    def test_it_is_whole_and_asks_nobody_else(self, run: Run) -> None:
        text = report_html(run, [finding()])
        page = Page(text)
        assert page.open == []
        assert page.fetched == ["data:,"]
        assert not re.search(r"@import|url\(", text)
        assert "prefers-color-scheme: dark" in text

    def test_it_says_what_the_terminal_says(self, run: Run) -> None:
        found = [finding(where="hidden.0", folded=(finding(slug="lr-too-low"),))]
        text, summary = report_html(run, found), summarize_run(run, found)
        assert summary.headline in text
        assert all(f"<dt>{name}</dt><dd>{value}</dd>" in text for name, value in summary.numbers)
        assert "41 % of &lt;the&gt; units are dead." in text
        assert "It explains: The learning rate is too low." in text
        assert "markone explain dead-relu" in text

    def test_the_curves_are_there_as_charts_and_as_a_table(self, run: Run) -> None:
        text = report_html(run, [])
        assert re.findall(r"<figcaption>(.*?)</figcaption>", text) == ["Loss", "Accuracy", "Learning rate"]
        assert "<td>20</td><td>0.92</td>" in text

    def test_a_run_that_broke_off_has_a_page(self, tmp_path: Path) -> None:
        run = write_run(tmp_path / "run", losses=[2.0, 3.0, math.nan], status="non-finite", accuracies=(0.1,))
        assert "This training broke off" in report_html(run, [])

    def test_a_run_without_a_step_has_a_page(self, tmp_path: Path) -> None:
        run = write_run(tmp_path / "run", accuracies=(), steps=0, status="interrupted")
        assert "has not finished an epoch yet" in report_html(run, [])

    def test_writing_replaces_the_page_and_leaves_nothing_beside(self, run: Run) -> None:
        write_report(run, [])
        path = write_report(run, [finding()])
        assert [file for file in run.folder.iterdir() if "report" in file.name] == [path]
        assert "Units are dead" in path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ill(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(case("vanishing-gradient").ill, folder=tmp_path_factory.mktemp("forms") / "run")


class TestForms:
    """``markone diagnose --format sarif|markdown|html`` on the run of an ill recipe."""

    def printed(self, run: Run, form: str, capsys: pytest.CaptureFixture[str]) -> str:
        assert main(["diagnose", str(run.folder), "--format", form]) == 0
        return capsys.readouterr().out

    def test_sarif(self, ill: Run, capsys: pytest.CaptureFixture[str]) -> None:
        document = json.loads(self.printed(ill, "sarif", capsys))
        assert document["version"] == "2.1.0"
        (run,) = document["runs"]
        rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
        findings = diagnose(ill)
        every = [one for top in findings for one in (top, *top.folded)]
        assert sorted(one["ruleId"] for one in run["results"]) == sorted(one.slug for one in every)
        for result in run["results"]:
            assert rules[result["ruleIndex"]] == result["ruleId"]
            assert result["level"] in ("note", "warning", "error")
            assert result["message"]["text"]
        folded = [one["properties"].get("explainedBy") for one in run["results"]]
        assert folded.count(None) == len(findings)

    def test_sarif_names_the_line(self, ill: Run) -> None:
        finding = Finding("double-softmax", Severity.SEVERE, "m", 1, 0, 1.0, where="net.head", place="src/train.py:31")
        (result,) = sarif_document(ill, [finding])["runs"][0]["results"]
        (location,) = result["locations"]
        assert location["physicalLocation"] == {
            "artifactLocation": {"uri": "src/train.py"},
            "region": {"startLine": 31},
        }
        assert location["logicalLocations"] == [{"fullyQualifiedName": "net.head"}]
        assert result["level"] == "error"

    def test_markdown(self, ill: Run, capsys: pytest.CaptureFixture[str]) -> None:
        text = self.printed(ill, "markdown", capsys)
        assert text.startswith("# ")
        assert "| `vanishing-gradient` | |" in text
        assert text.count("\n## ") >= 1

    def test_markdown_of_names_is_no_markup(self, ill: Run) -> None:
        text = markdown_report(ill, [Finding("dead-relu", Severity.NOTE, "a*b_c <i>", 0.5, 0.1, 0.5)])
        assert r"a\*b\_c \<i\>" in text

    def test_html_has_the_evidence_beside_the_sentence(self, ill: Run, capsys: pytest.CaptureFixture[str]) -> None:
        page = self.printed(ill, "html", capsys)
        (first, *_) = diagnose(ill)
        section = page.partition("Finding 1")[2].partition("</section>")[0]
        assert escape(first.message) in section
        assert section.count("<svg") >= 2
        assert "Gradient at each layer" in section
        assert "http" not in page.replace("http://www.w3.org", ""), "self-contained"

    def test_every_figure_is_of_a_finding_that_exists(self) -> None:
        assert set(FIGURES) <= set(RANK)


class TestHeatmap:
    @given(
        st.lists(st.lists(st.floats(width=32), min_size=1, max_size=30), max_size=40),
    )
    def test_it_is_well_formed_and_has_a_row_for_each_layer_up_to_a_bound(self, layers: list[list[float]]) -> None:
        named = {f"layer <{i}>": Series(np.arange(len(v)), np.zeros(len(v)), np.array(v)) for i, v in enumerate(layers)}
        text = heatmap("a & b", named, end=30, marked="layer <1>")
        if not any(math.isfinite(value) for row in layers for value in row):
            return
        if text:
            drawn = ElementTree.fromstring(text)
            assert len(list(drawn.iter("title"))) <= MOST_ROWS + 1
            assert sum(float(rect.attrib["width"]) for rect in drawn.iter("rect")) > 0

    def test_darker_is_larger(self) -> None:
        steps = np.arange(10)
        rows = {"a": Series(steps, steps * 0.0, np.full(10, 1.0)), "b": Series(steps, steps * 0.0, np.full(10, 9.0))}
        low, high = (
            float(one.attrib["opacity"]) for one in ElementTree.fromstring(heatmap("t", rows, end=9)).iter("rect")
        )
        assert low < high == 1.0

    def test_a_histogram_counts_all_values(self) -> None:
        drawn = ElementTree.fromstring(chart.histogram("h", np.concatenate([np.zeros(30), np.arange(10.0)])))
        heights = [float(rect.attrib["height"]) for rect in drawn.iter("rect")]
        assert max(heights) == pytest.approx(chart.HEIGHT - chart.BOTTOM - chart.TOP)
        assert chart.histogram("h", np.ones(5)) == ""
