"""The pages of the findings, ``docs/findings/SLUG.md``: in the wheel they lie beside the diagnosis, in a checkout in docs/."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from markone.errors import InputError, did_you_mean


@cache
def _pages() -> dict[str, Traversable]:
    packed = files("markone.diagnosis").joinpath("pages")
    folder: Traversable = packed if packed.is_dir() else Path(__file__).parents[3] / "docs" / "findings"
    names = [entry for entry in folder.iterdir() if entry.name.endswith(".md")] if folder.is_dir() else []
    return {entry.name.removesuffix(".md"): entry for entry in sorted(names, key=lambda entry: entry.name)}


def all_slugs() -> tuple[str, ...]:
    """Every finding that has a page, in alphabetical order."""
    return tuple(_pages())


def require_slug(slug: str) -> str:
    """The slug itself. Raises InputError with the near name if no finding is called so."""
    if slug not in _pages():
        near = did_you_mean(slug, _pages())
        raise InputError("slug-unknown", f"there is no finding {slug!r}.{near} List them all with: markone explain.")
    return slug


def page(slug: str) -> str:
    """The page of a finding, Markdown."""
    return _pages()[slug].read_text(encoding="utf-8")


def title(slug: str) -> str:
    """The heading of a finding's page; the slug in words where it has none."""
    lines = page(slug).splitlines() if slug in _pages() else []
    heading = next((line.lstrip("# ").strip() for line in lines if line.startswith("# ")), "")
    return heading or slug.replace("-", " ")
