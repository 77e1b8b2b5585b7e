"""The page of each slug: what it is, how we know, why it happens, what to do, when it is harmless."""

from pathlib import Path

from markone.errors import InputError, did_you_mean

INSTALLED = Path(__file__).parent / "pages"
CHECKOUT = Path(__file__).parents[3] / "docs" / "findings"


def page(slug: str) -> str:
    """The page as Markdown text. Raises InputError that offers the near slug."""
    known = slugs()
    if slug not in known:
        near = did_you_mean(slug, known)
        raise InputError(
            "finding-unknown", f"there is no finding {slug!r}.{near} List all {len(known)} with: markone explain."
        )
    return (_folder() / f"{slug}.md").read_text(encoding="utf-8")


def slugs() -> list[str]:
    """Every slug that has a page, in alphabetical order."""
    return sorted(path.stem for path in _folder().glob("*.md"))


def _folder() -> Path:
    """Inside the installed package, or in the checkout that the package is run from."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT
