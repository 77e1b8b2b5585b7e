"""Tasks: what a training is for."""

from typing import Annotated

from markone.spec import KIND
from markone.tasks.classification import Classification
from markone.tasks.regression import Regression
from markone.tasks.segmentation import Segmentation

Task = Annotated[Classification | Regression | Segmentation, KIND]
TASKS = (Classification, Regression, Segmentation)

__all__ = ["TASKS", "Classification", "Regression", "Segmentation", "Task"]
