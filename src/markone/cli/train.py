"""``markone train``: from a recipe, or just data, to an explained run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from markone.cli.options import Format, FormatOption, GroupOption, SetOption, TargetOption, read_edits

if TYPE_CHECKING:
    from markone.data.dataset import Dataset
    from markone.recipe import Recipe
    from markone.training.loop import Training
    from markone.training.run import Run

EXIT_CODES = {"finished": 0, "interrupted": 130}  # any other end is a training that could not go on: 1


def train(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE.toml | DATA]", help="A recipe, a dataset's name, or a path to data (default: digits)."
        ),
    ] = None,
    *,
    settings: SetOption = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Passes over the training part.")] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="Stop after this training time.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="S", help="The one seed of all random streams.")] = None,
    target: TargetOption = None,
    group: GroupOption = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Where the run goes (default: a new folder in runs/)."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with an interrupted run.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the recipe and train nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only errors, and one line or document at the end.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Trains a net and explains how it went. Ends with a verdict and the next step."""
    options = {"epochs": epochs, "seconds": seconds, "seed": seed}
    if resume is not None:
        more = {"set": settings, "target": target, "group": group, "folder": folder, "dry-run": dry_run or None}
        given = [f"--{name}" for name, value in {**options, **more}.items() if value is not None]
        training = _resume(resume, given if source is None else [source, *given], quiet=quiet)
    else:
        edits = {**{name: value for name, value in options.items() if value is not None}, **read_edits(settings)}
        recipe, dataset = _plan("digits" if source is None else source, edits, target=target, group=group, quiet=quiet)
        if dry_run:
            print(recipe.to_json() if format == Format.JSON else recipe.to_toml(), end="")
            return
        training = _begin(recipe, dataset, folder, quiet=quiet)
    _follow(training, quiet=quiet, format=format)


def _plan(
    source: str, edits: dict[str, Any], *, target: str | None, group: str | None, quiet: bool
) -> "tuple[Recipe, Dataset | None]":
    """The recipe as read or chosen, edited; and the dataset where it had to be read for the choice."""
    if Path(source).suffix.lower() in (".toml", ".json"):
        return _load(Path(source), edits, target=target, group=group), None
    from markone.cli.progress import progress_bar
    from markone.data.source import resolve
    from markone.training.choose import choose_recipe, choose_source

    data = choose_source(resolve(source, target=target, group=group), edits)
    with progress_bar(quiet=quiet) as progress:
        dataset = data.build(progress=progress)
    chosen = choose_recipe(data, dataset, wishes=edits)
    recipe = chosen.edit_all(edits)
    return recipe, dataset if recipe.data == chosen.data else None


def _load(path: Path, edits: dict[str, Any], *, target: str | None, group: str | None) -> "Recipe":
    from markone.errors import SpecError
    from markone.recipe import Recipe

    for option, value, field in (("--target", target, "data.target"), ("--group", group, "data.group")):
        if value is not None:
            raise SpecError(
                "recipe-and-option", f"{option} is for data alone; with a recipe write --set {field}={value}."
            )
    return Recipe.load(path).edit_all(edits)


def _begin(recipe: "Recipe", dataset: "Dataset | None", folder: Path | None, *, quiet: bool) -> "Training":
    from markone.cli.progress import progress_bar
    from markone.training.loop import Training

    with progress_bar(quiet=quiet) as progress:
        return Training.begin(recipe, folder=folder, dataset=dataset, progress=progress)


def _resume(run: str, refused: list[str], *, quiet: bool) -> "Training":
    from markone.cli.progress import progress_bar
    from markone.errors import RunError
    from markone.report.words import listing
    from markone.training.loop import Training
    from markone.training.run import find_run

    if refused:
        raise RunError(
            "resume-keeps-recipe", f"--resume goes on with the run's own recipe; leave out {listing(refused)}."
        )
    with progress_bar(quiet=quiet) as progress:
        return Training.resume(find_run(run).folder, progress=progress)


def _follow(training: "Training", *, quiet: bool, format: Format) -> None:
    """Trains to the end while showing it, then judges, and ends with the exit code."""
    from markone.cli.output import open_console
    from markone.cli.rounds import Rounds, conclude
    from markone.report.live import open_view
    from markone.training.loop import interrupts_stop

    with interrupts_stop(training):
        rounds = Rounds(training)
        console = None if quiet else open_console(stderr=format == Format.JSON)
        with open_view(training, console) as view:
            for step in training.steps():
                view.step(step)
                if step.metrics is not None and (found := rounds.after_epoch(step)) is not None:
                    view.findings(found)
        findings = conclude(training.run)
    run = training.run
    _report(run, findings, quiet=quiet, format=format)
    raise typer.Exit(EXIT_CODES.get(run.status, 1))


def _report(run: "Run", findings: list[Any], *, quiet: bool, format: Format) -> None:
    from markone.cli.output import open_console, print_json
    from markone.report.document import run_document
    from markone.report.text import verdict_line, verdict_text

    if format == Format.JSON:
        print_json(run_document(run, findings))
    elif quiet:
        print(verdict_line(run, findings))
    else:
        open_console().print(verdict_text(run, findings))
    if run.status == "interrupted":
        open_console(stderr=True).print(
            f"markone: interrupted; go on with: markone train --resume {run.folder}", soft_wrap=True
        )
