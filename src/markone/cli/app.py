"""The table of verbs, and ``main``, which turns every failure into one sentence and an exit code.

0: done. 1: a training could not go on, or findings reached ``--fail-on``. 2: what was given cannot be used, and nothing was
written. 130: interrupted.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from markone.cli.compare import compare
from markone.cli.data import data
from markone.cli.diagnose import diagnose
from markone.cli.explain import explain
from markone.cli.failures import complain, hush_stdout, require_verb, usage_sentence
from markone.cli.net import net
from markone.cli.predict import predict
from markone.cli.runs import runs
from markone.cli.show import show
from markone.cli.test import estimate
from markone.cli.train import train
from markone.cli.watch import watch
from markone.errors import InputError, MarkoneError
from markone.version import VERSION

VERBS: dict[str, Callable[..., None]] = {
    "train": train,
    "watch": watch,
    "runs": runs,
    "show": show,
    "compare": compare,
    "diagnose": diagnose,
    "explain": explain,
    "test": estimate,
    "predict": predict,
    "data": data,
    "net": net,
}


SETTINGS = {"watch": {"allow_interspersed_args": False}}
"""What follows the script belongs to the script, options and all."""


def build_app() -> typer.Typer:
    """The typer app with every verb."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(root)
    for name, verb in VERBS.items():
        app.command(name, context_settings=SETTINGS.get(name))(verb)
    return app


def print_version(asked: bool) -> None:
    """Ends the program after the version, if that was asked for."""
    if asked:
        typer.echo(f"markone {VERSION}")
        raise typer.Exit


def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """Trains neural networks for vision, and every training explains itself. Begin with: markone train digits"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code; without arguments it prints the help."""
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        require_verb(arguments, list(VERBS))
        command = typer.main.get_command(build_app())
        code = command(arguments, prog_name="markone", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return complain(usage_sentence(error, arguments), code=2)
    except InputError as error:
        return complain(str(error), code=2)
    except MarkoneError as error:
        return complain(str(error), code=1)
    except KeyboardInterrupt:
        return complain("interrupted.", code=130)
    except BrokenPipeError:
        hush_stdout()
        return 1
    except SystemExit as request:
        return request.code if isinstance(request.code, int) else 1
    return int(code or 0)
