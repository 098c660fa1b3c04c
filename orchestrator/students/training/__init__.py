"""Making students (extra `train`: scikit-learn). Nothing here is needed to answer."""

from orchestrator.students.training.rows import LabelledText as LabelledText
from orchestrator.students.training.train import TrainingError as TrainingError
from orchestrator.students.training.train import train_student as train_student
