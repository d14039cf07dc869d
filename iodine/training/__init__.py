"""Training: configuration, the replicated step, schedules, devices, checkpoints."""

from iodine.files import write_json
from iodine.training.checkpoints import CheckpointError, Checkpoints, check_config, restore
from iodine.training.config import Stage, TrainingConfig
from iodine.training.distribution import (
  STRATEGIES,
  cluster_task,
  make_strategy,
  num_cores,
  split_cpu,
)
from iodine.training.loss_scale import LossScale
from iodine.training.schedules import Schedule, annealed
from iodine.training.trainer import NonFiniteError, Trainer

__all__ = [
  "STRATEGIES",
  "CheckpointError",
  "Checkpoints",
  "LossScale",
  "NonFiniteError",
  "Schedule",
  "Stage",
  "Trainer",
  "TrainingConfig",
  "annealed",
  "check_config",
  "cluster_task",
  "make_strategy",
  "num_cores",
  "restore",
  "split_cpu",
  "write_json",
]
