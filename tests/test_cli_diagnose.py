"""diagnose and explain: findings as text and JSON, selection, exit codes, pages."""

import json
from pathlib import Path
from typing import Any

import pytest

from markone.cli import main
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.pages import page, slugs
from markone.report.titles import title
from tests.synthetic_run import write_run

FOUND = [
    Finding("lr-too-high", Severity.SEVERE, "the steps overshoot.", float("nan"), 2.0, 0.9),
    Finding(
        "dead-relu",
        Severity.WARNING,
        "half of the units are dead.",
        0.5,
        0.0,
        0.7,
        where="hidden.0",
        since_step=12,
        folded=(Finding("vanishing-gradient", Severity.NOTE, "it vanishes.", 1e-9, 1e-3, 0.5),),
    ),
]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with one run, in which the diagnosis finds FOUND."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("markone.diagnosis.diagnose.diagnose", lambda run: FOUND)
    write_run(Path("runs/one"))


class TestDiagnose:
    def test_the_document_is_the_list_of_findings(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["diagnose", "one", "--format", "json"]) == 0
        found: Any = json.loads(capsys.readouterr().out)
        assert [row["slug"] for row in found] == ["lr-too-high", "dead-relu"]
        assert found[0]["measured"] is None, "not a number is null"
        assert found[1] == {**FOUND[1].to_dict(), "severity": "warning"}

    def test_the_text_names_the_cause_first(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["diagnose", "one"]) == 0
        text = capsys.readouterr().out
        assert text.index("1. severe  The learning rate is too high") < text.index("2. warning  Units are dead")
        assert "hidden.0, since step 12" in text
        assert "It explains: The gradient vanishes before it reaches the first layers." in text
        assert "markone explain dead-relu" in text

    @pytest.mark.parametrize(
        ("options", "slugs"),
        [
            (["--select", "dead-relu"], ["dead-relu"]),
            (["--select", "dead-relu,lr-too-high"], ["lr-too-high", "dead-relu"]),
            (["--select", "dead-relu", "--select", "lr-too-high"], ["lr-too-high", "dead-relu"]),
            (["--ignore", "lr-too-high"], ["dead-relu"]),
            (["--select", "overfitting"], []),
            (["--select", "dead-relu", "--ignore", "dead-relu"], []),
        ],
    )
    def test_findings_are_chosen(
        self, options: list[str], slugs: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["diagnose", "one", "--format", "json", *options]) == 0
        assert [row["slug"] for row in json.loads(capsys.readouterr().out)] == slugs

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ([], 0),
            (["--fail-on", "note"], 1),
            (["--fail-on", "severe"], 1),
            (["--fail-on", "severe", "--ignore", "lr-too-high"], 0),
            (["--fail-on", "warning", "--ignore", "lr-too-high"], 1),
            (["--fail-on", "note", "--select", "overfitting"], 0),
        ],
    )
    def test_the_exit_code_is_set_only_when_asked(self, options: list[str], code: int) -> None:
        assert main(["diagnose", "one", *options]) == code

    def test_what_cannot_be_judged_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["diagnose", "one"]) == 0
        assert "Cannot judge the inputs' scale: no input was recorded." in capsys.readouterr().out


class TestExplain:
    def test_without_a_slug_all_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", "--format", "json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["slug"] for row in rows] == list(slugs())
        assert main(["explain"]) == 0
        listed = capsys.readouterr().out
        assert all(row["slug"] in listed for row in rows)

    @pytest.mark.parametrize("slug", slugs())
    def test_every_page_is_shown(self, slug: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", slug]) == 0
        assert len(capsys.readouterr().out.splitlines()) > 5
        assert main(["explain", slug, "--format", "json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document == {"slug": slug, "title": title(slug), "page": page(slug)}

    def test_every_check_has_a_page(self) -> None:
        from markone.diagnosis.diagnose import CHECKS

        assert {check.__name__.replace("_", "-") for check in CHECKS} <= set(slugs())
