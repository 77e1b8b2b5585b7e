"""The command line: one verb, one file. Nothing here imports torch before a verb needs it."""

from markone.cli.app import main

__all__ = ["main"]
