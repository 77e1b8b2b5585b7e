"""Failures of the command line itself, as one sentence each: what was given, what is allowed, what to do next."""

import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from markone.errors import InputError, did_you_mean


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
    verb = "markone" if arguments[0].startswith("-") else f"markone {arguments[0]}"
    return f"{_problem(error, verb.split()[-1], arguments)} See: {verb} --help."


def _problem(error: Any, verb: str, arguments: Sequence[str]) -> str:
    match type(error).__name__:
        case "NoSuchOption":
            options = [name for param in error.ctx.command.params for name in param.opts if name.startswith("--")]
            return f"{verb} has no option {error.option_name}.{did_you_mean(error.option_name, options)}"
        case "MissingParameter":
            what = error.param.help.rstrip(".")
            return f"{verb} needs {_name(error.param)}: {what[:1].lower()}{what[1:]}."
        case "BadOptionUsage":
            return f"{error.option_name} needs a value."
        case "BadParameter":
            return _bad_value(_name(error.param), _given(error.param, arguments), error.message)
        case _ if "unexpected extra argument" in error.message:
            return f"{verb} does not take the further argument {error.message.rpartition('(')[2].rstrip(').')}."
        case _:
            return str(error.format_message())


def _bad_value(name: str, value: str | None, message: str) -> str:
    given = name if value is None else f"{name} {value}"
    if " is not one of " in message:
        allowed = re.findall(r"'([^']*)'", message.partition(" is not one of ")[2])
        return f"{given} is not allowed.{did_you_mean(value or '', allowed)} Allowed: {', '.join(allowed)}."
    numbers = {"integer": "it should be a whole number", "number": "it should be a number"}
    reason = next((words for word, words in numbers.items() if word in message), message.rstrip("."))
    return f"{given} is not allowed: {reason}."


def _name(param: Any) -> str:
    option: str = next((name for name in param.opts if name.startswith("--")), "")
    return option or str(param.metavar or param.name.upper()).rstrip(".")


def _given(param: Any, arguments: Sequence[str]) -> str | None:
    """The word that was given for an option, for the message; None if it cannot be told."""
    for option in param.opts:
        for place, word in enumerate(arguments):
            if word.startswith(f"{option}="):
                return word.partition("=")[2]
            if word == option and place + 1 < len(arguments):
                return arguments[place + 1]
    return None
