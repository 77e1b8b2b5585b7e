"""Cases: for each slug a recipe that is ill with it, and a twin that differs by as little as can be and is not."""

from markone.diagnosis.cases.table import CASES, Case, case

__all__ = ["CASES", "Case", "case"]
