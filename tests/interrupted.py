"""A run that ends as if its process had been killed, at the second save of its checkpoint."""

from collections.abc import Callable

import pytest

from pcclora.engine import checkpoint as checkpoints


def interrupted(call: Callable[[], object]) -> None:
    """Make a run by a call, and end it after its first save."""
    real, saved = checkpoints.save, []

    def save_once(path, checkpoint):
        if saved:
            raise KeyboardInterrupt
        saved.append(real(path, checkpoint))

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "save", save_once)
        call()
