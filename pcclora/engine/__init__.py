"""Runs: the training loop, evaluation, checkpoints, run folders. The tools are thin calls of this room."""
