"""A summary.json as a run of the task ``cls`` leaves it."""


def summary(**changes):
    """Return one, with some entries changed; None leaves an entry out."""
    held = {
        "task": "classification",
        "data": "procedural",
        "model": "point_mae",
        "checkpoint": "none",
        "checkpoint_sha256": None,
        "adapter": {"name": "lora", "r": 4},
        "metrics": {"accuracy": 0.75, "mean_class_accuracy": 0.7},
        "protocol": {
            "augmentation": "none",
            "points": 64,
            "votes": 0,
            "selection": "last epoch",
            "seed": 0,
            "epochs": 2,
        },
        "selected_epoch": 2,
        "samples": {"train": 12, "test": 4},
        "parameters": {"total": 1000, "trained": 100, "share": 0.1},
        "gmacs": {"total": 0.5, "literature": 0.25},
        "train_seconds": 3.5,
        "seconds_per_epoch": 1.75,
        "peak_memory_mb": 300.5,
        "adapter_bytes": 4096,
        "classes": ["ball", "box", "rod"],
    }
    return {key: value for key, value in (held | changes).items() if value is not None or key == "checkpoint_sha256"}
