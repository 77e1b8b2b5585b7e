"""Tasks: what a training is for."""

from typing import Annotated

from markone.spec import KIND
from markone.tasks.classification import Classification
from markone.tasks.regression import Regression

Task = Annotated[Classification | Regression, KIND]
TASKS = (Classification, Regression)

__all__ = ["TASKS", "Classification", "Regression", "Task"]
