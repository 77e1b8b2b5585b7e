"""Failures of the command line itself, as one sentence each: what was given, what is allowed, what to do next."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from markone.errors import InputError, did_you_mean

# typer brings its own copy of click since 0.20 and used the package before: this name reaches ClickException in both.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


def complain(sentence: str, *, code: int) -> int:
    """Prints one line to standard error and returns the exit code."""
    print("markone:", " ".join(sentence.split()), file=sys.stderr)
    return code


def hush_stdout() -> None:
    """The reader of our standard output went away: what Python flushes at exit goes nowhere, in silence."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def require_verb(arguments: Sequence[str], verbs: Sequence[str]) -> None:
    """Raises InputError with the near name if the first word is no verb."""
    first = arguments[0]
    if not first.startswith("-") and first not in verbs:
        near = did_you_mean(first, verbs)
        raise InputError("verb-unknown", f"there is no verb {first!r}.{near} Allowed: {', '.join(verbs)}.")


def usage_sentence(error: Any, arguments: Sequence[str]) -> str:
    """A usage error that typer raised, in our words."""
    context = error.ctx
    verb = context.info_name if context is not None else "markone"
    where = context.command_path if context is not None else "markone"
    return f"{_problem(error, verb, arguments)} See: {where} --help."


def _problem(error: Any, verb: str, arguments: Sequence[str]) -> str:
    match type(error).__name__:
        case "NoSuchOption":
            options = [name for param in error.ctx.command.params for name in param.opts if name.startswith("--")]
            return f"{verb} has no option {error.option_name}.{did_you_mean(error.option_name, options)}"
        case "MissingParameter":
            return f"{verb} needs {_name(error.param)}: {error.param.help.rstrip('.')}."
        case "BadOptionUsage":
            return f"{error.option_name} needs a value."
        case "BadParameter":
            return _bad_value(error, arguments)
        case _ if "unexpected extra argument" in error.message:
            extra = error.message.partition("(s) (")[2].rstrip(")") or error.message
            return f"{verb} does not take the further argument {extra}."
        case _:
            return str(error.format_message())


def _bad_value(error: Any, arguments: Sequence[str]) -> str:
    name, value = _name(error.param), _given(error.param, arguments)
    allowed = error.message.removeprefix("Input should be ").partition(",")[0].rstrip(".")
    near = did_you_mean(value or "", allowed.replace("'", "").replace(" or ", " ").split())
    given = name if value is None else f"{name} {value}"
    return f"{given} is not allowed: it should be {allowed}.{near}"


def _name(param: Any) -> str:
    option: str = next((name for name in param.opts if name.startswith("--")), "")
    return option or str(param.metavar or param.name.upper())


def _given(param: Any, arguments: Sequence[str]) -> str | None:
    """The word that was given for an option, for the message; None if it cannot be told."""
    for option in param.opts:
        for place, word in enumerate(arguments):
            if word.startswith(f"{option}="):
                return word.partition("=")[2]
            if word == option and place + 1 < len(arguments):
                return arguments[place + 1]
    return None
