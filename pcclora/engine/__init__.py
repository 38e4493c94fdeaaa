"""The machine: the training loop, evaluation, checkpoints, the files of a run's folder. It knows no task."""
