"""The title of a finding, the heading of its page; and how to confirm one that chance may have brought."""

from functools import cache

from markone.diagnosis.causes import STOCHASTIC
from markone.diagnosis.finding import Finding
from markone.diagnosis.pages import page, slugs
from markone.training.run import Run


@cache
def title(slug: str) -> str:
    """What the finding says in one line; its slug in words where it has no page.

    >>> title("lr-too-high")
    'The learning rate is too high'
    """
    text = page(slug) if slug in slugs() else ""
    heading = next((line for line in text.splitlines() if line.startswith("# ")), "")
    return heading.removeprefix("# ") or slug.replace("-", " ").capitalize()


def second_seed(run: Run, finding: Finding) -> str | None:
    """How to confirm a finding that another draw of the same training might not have; None for all others."""
    if not {finding.slug, *(one.slug for one in finding.folded)} & STOCHASTIC:
        return None
    if run.recipe is None:
        return "Chance has a part in this: confirm it with another seed of the script."
    command = f"markone train {run.folder / 'recipe.toml'} --set seed={run.recipe.seed + 1}"
    return f"Chance has a part in this: confirm it with a second seed, {command}"
