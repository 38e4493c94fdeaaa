"""Which object and which view of it a window shows, and what its keys do to that. It knows no window."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pcclora.data.base import Axis
from pcclora.errors import PccloraError
from pcclora.runs.segmented import SegmentedCloud
from pcclora.vis.tokens import Tokens
from pcclora.vis.views import ERRORS, HEIGHT, PREDICTION, SCAN, TOKENS, TRUTH, View, views_of

VIEW_KEYS = {"G": TRUTH, "P": PREDICTION, "E": ERRORS, "C": SCAN, "H": HEIGHT, "T": TOKENS}
STEP_KEYS = {"N": 1, "B": -1}


@dataclass
class WindowState:
    """The state of a window on several objects.

    Attributes:
        clouds: At least one object.
        tokens: How a model cuts them, to show that too.
        up: The axis of the clouds that is vertical.
        number: Which of them is shown.
        wanted: The views that were asked for, the last one last; an object that lacks it shows the one before.
    """

    clouds: Sequence[SegmentedCloud]
    tokens: Tokens | None = None
    up: Axis = "y"
    number: int = 0
    wanted: list[str] = field(default_factory=lambda: [HEIGHT, SCAN, TOKENS, TRUTH, PREDICTION])

    def __post_init__(self) -> None:
        if not self.clouds:
            raise PccloraError("nothing to show; at least one object is needed")
        self.views = views_of(self.cloud, tokens=self.tokens, up=self.up)

    @property
    def cloud(self) -> SegmentedCloud:
        """The object that is shown."""
        return self.clouds[self.number]

    @property
    def view(self) -> View:
        """The view of it that is shown."""
        return self.views[next(name for name in reversed(self.wanted) if name in self.views)]

    def press(self, key: str) -> None:
        """Do what a key is for; one that is for nothing here does nothing."""
        if key in STEP_KEYS:
            self.number = (self.number + STEP_KEYS[key]) % len(self.clouds)
            self.views = views_of(self.cloud, tokens=self.tokens, up=self.up)
        elif VIEW_KEYS.get(key) in self.views:
            self.wanted.append(VIEW_KEYS[key])

    def help(self) -> list[tuple[str, str]]:
        """Return the keys that do something now, each with what it does."""
        steps = [("N", "next object"), ("B", "previous object")] if len(self.clouds) > 1 else []
        shown = [(key, name) for key, name in VIEW_KEYS.items() if name in self.views]
        return [*(shown if len(shown) > 1 else []), *steps, ("R", "reset the view"), ("Q", "quit")]
