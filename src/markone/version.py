"""The version of markone, in the one place that code reads it from."""

VERSION = "0.1.0"
