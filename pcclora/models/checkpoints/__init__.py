"""Released checkpoints: the file, whose keys they are, what they give to a model."""
