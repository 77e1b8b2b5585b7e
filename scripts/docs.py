"""Writes docs/cli.md from the help texts of the verbs.

python scripts/docs.py
"""

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from markone.cli import app

PLACE = Path(__file__).parents[1] / "docs" / "cli.md"


def manual() -> str:
    """The whole page."""
    overview = [f"| [`{name}`](#markone-{name}) | {_first_sentence(verb)} |" for name, verb in app.VERBS.items()]
    head = [
        "# The command line",
        "",
        "Written from the help texts by `python scripts/docs.py`; `markone VERB --help` says the same.",
        "",
        "| verb | |",
        "|---|---|",
        *overview,
        "",
        "`markone --version` prints the version, `markone --install-completion` installs the completion for your shell.",
        "RUN is a run folder, a name under `runs/`, or `last`. `--format json` prints one document on standard output and nothing",
        "else there; [docs/json.md](json.md) describes each.",
        "",
        "Exit codes: 0 done; 1 a training could not go on, an input of `predict` could not be read, or findings reached `--fail-on`;",
        "2 what was given cannot be used, said in one sentence, and nothing was written; 130 interrupted.",
    ]
    return "\n".join([*head, *(line for name, verb in app.VERBS.items() for line in _verb(name, verb))]) + "\n"


def _verb(name: str, verb: Callable[..., None]) -> Iterator[str]:
    arguments, options = _parameters(verb)
    usage = " ".join(info.metavar for info, _ in arguments)
    yield from (
        "",
        f"## markone {name}",
        "",
        f"`markone {name} [OPTIONS] {usage}`".replace(" `", "`"),
        "",
        str(verb.__doc__),
        "",
    )
    yield from ("| | | default |", "|---|---|---|")
    for info, (_, default) in arguments:
        yield f"| {_code(info.metavar)} | {info.help} | {_default(default)} |"
    for info, (kind, default) in options:
        yield f"| {_code(f'{_flag(info)} {_values(info, kind)}'.strip())} | {info.help} | {_default(default)} |"


Parameters = list[tuple[Any, tuple[Any, Any]]]


def _parameters(verb: Callable[..., None]) -> tuple[Parameters, Parameters]:
    """(arguments, options) as (typer's description, (type, default))."""
    hints = get_type_hints(verb, include_extras=True)
    found: tuple[Parameters, Parameters] = ([], [])
    for name, parameter in inspect.signature(verb).parameters.items():
        kind, info = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name], None)
        if not info.hidden:
            found[isinstance(info, OptionInfo)].append((info, (kind, parameter.default)))
    return found


def _flag(info: Any) -> str:
    """``--set``, or ``-m`` that has no longer name; typer keeps the first name of an annotated option where its default would be."""
    names = [str(name) for name in (info.default, *info.param_decls) if str(name).startswith("-")]
    return max(names, key=lambda name: name.startswith("--"))


def _values(info: Any, kind: Any) -> str:
    """The name of the value, or what it may be."""
    if info.metavar:
        return str(info.metavar)
    choices = [part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, Enum)]
    return "|".join(member.value for member in choices[0]) if choices else ""


def _default(value: Any) -> str:
    return "" if value is None or value is False or value is inspect.Parameter.empty else f"`{value}`"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _first_sentence(verb: Callable[..., None]) -> str:
    return str(verb.__doc__).partition(". ")[0].rstrip(".") + "."


def main() -> None:
    PLACE.write_text(manual(), encoding="utf-8")
    print(f"wrote {PLACE}")


if __name__ == "__main__":
    main()
