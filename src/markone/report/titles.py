"""The title of a finding: the heading of its page."""

from functools import cache

from markone.diagnosis.pages import page, slugs


@cache
def title(slug: str) -> str:
    """What the finding says in one line; its slug in words where it has no page.

    >>> title("lr-too-high")
    'The learning rate is too high'
    """
    text = page(slug) if slug in slugs() else ""
    heading = next((line for line in text.splitlines() if line.startswith("# ")), "")
    return heading.removeprefix("# ") or slug.replace("-", " ").capitalize()
