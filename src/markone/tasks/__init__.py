"""Tasks: what a training is for."""

from markone.spec import family
from markone.tasks.classification import Classification
from markone.tasks.regression import Regression

Task = family(Classification | Regression)
TASKS = (Classification, Regression)

__all__ = ["TASKS", "Classification", "Regression", "Task"]
