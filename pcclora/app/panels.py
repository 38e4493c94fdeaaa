"""Panels beside the scene, to label and to look: each shows a part of the session and has it do things."""

from collections.abc import Callable
from typing import Any

from pcclora.app.frame import Frame
from pcclora.app.labels import UNLABELLED
from pcclora.app.looks import LABELS, looks_of
from pcclora.app.run_panels import Predicting
from pcclora.data import AXES
from pcclora.errors import PccloraError
from pcclora.text import visible
from pcclora.vis.palette import part_colours

_NO_CLASS = "(none yet)"
_HELP = """**Click** a piece to select it, **Shift**-click adds, **Ctrl**-click takes away; drag with **Shift** or
**Ctrl** for a rectangle. **1** to **9** give what is selected a part, **Shift-1** the rest; **0** erases, **Ctrl-Z**
undoes, **D** is done, **N** the next scan, **Ctrl-K** finds all."""


class Labelling:
    """Classes, parts, super-points, undo."""

    def __init__(self, frame: Frame, predicting: Predicting) -> None:
        self._predicting = predicting
        self.frame, self.session = frame, frame.session
        gui, does, session = frame.server.gui, frame.does, frame.session
        self.category = gui.add_dropdown("Class", [_NO_CLASS], initial_value=_NO_CLASS)
        self.category.on_update(does(lambda _: self._set_category(self.category.value)))
        self._ask_name("New class", self._add_category)
        self._folder = gui.add_folder("Parts")
        self._buttons: list[Any] = []
        self._made_for: object = None
        self._ask_name("New part", self._add_part)
        self.pieces = gui.add_slider("Pieces", 2, 600, 1, session.pieces_wanted, hint="How many super-points")
        self.pieces.on_update(does(lambda _: session.cut(int(self.pieces.value))))
        steps = gui.add_button_group("Steps", ["undo", "redo"])
        steps.on_click(does(lambda _: session.undo() if steps.value == "undo" else session.redo()))
        start = gui.add_button_group(
            "Start from", ["run", "file"], hint="Labels to correct, which are not finished yet"
        )
        start.on_click(does(lambda _: self._start(start.value)))
        self._always = gui.add_checkbox("Start next scans from the run", False)
        gui.add_button("Done: the labels are right", icon="check", color="green").on_click(
            does(lambda _: session.check())
        )
        gui.add_markdown(_HELP)

    @property
    def starts_from_run(self) -> bool:
        """Whether a scan without labels starts from what the run says."""
        return bool(self._always.value)

    def category_from_here(self) -> None:
        """Say that a scan is of the class that was in use: scans of one kind come one after the other."""
        if not self.session.now.category and self.category.value in self.session.labels.names:
            self.session.set_category(self.category.value)

    def refresh(self) -> None:
        """Show the class, and a button of each part."""
        session = self.session
        self.category.options = [_NO_CLASS, *session.labels.names]
        self.category.value = session.now.category or _NO_CLASS
        key = (session.now.category, tuple(session.parts))
        if key != self._made_for:
            self._made_for = key
            self._make_buttons()

    def _make_buttons(self) -> None:
        for button in self._buttons:
            button.remove()
        colours = part_colours(len(self.session.parts)).tolist()
        with self._folder:
            self._buttons = [self._button(part, colours[part]) for part in range(len(self.session.parts))]
            if self._buttons:
                erase = self.frame.server.gui.add_button("0  erase", color="gray")
                erase.on_click(self.frame.does(lambda _: self.session.assign(UNLABELLED)))
                self._buttons.append(erase)

    def _button(self, part: int, colour: list[int]) -> Any:
        name = visible(self.session.parts[part])
        button = self.frame.server.gui.add_button(f"{part + 1}  {name}", color=tuple(colour))
        button.on_click(self.frame.does(lambda _: self.session.assign(part)))
        return button

    def _set_category(self, name: str) -> None:
        if name != _NO_CLASS:
            self.session.set_category(name)

    def _ask_name(self, label: str, take: Callable[[str], None]) -> None:
        gui = self.frame.server.gui
        with gui.add_form(None) as form:
            field = gui.add_text(label, "", hint="Its name, then Enter")

        def taken(_: Any) -> None:
            name, field.value = field.value, ""  # emptied first: the next name may be on its way
            try:
                take(name)
            except PccloraError:
                field.value = name
                raise

        form.on_submit(self.frame.does(taken))

    def _add_category(self, name: str) -> None:
        self.session.set_category(self.session.labels.add_category(name))

    def _add_part(self, name: str) -> None:
        if not self.session.now.category:
            raise PccloraError("say first which class the scan is of")
        self.session.labels.add_part(self.session.now.category, name)

    def _start(self, source: str) -> None:
        if source == "file":
            self.session.take_own()
        else:
            self.session.propose(self._predicting.ask())


class Looking:
    """Colours, up axis, size of points, the prediction beside the labels."""

    def __init__(self, frame: Frame, predicting: Predicting) -> None:
        self._predicting = predicting
        self.frame, self.session = frame, frame.session
        gui, does = frame.server.gui, frame.does
        self._look = gui.add_dropdown("Colours", [LABELS], initial_value=LABELS)
        self._look.on_update(does(lambda _: None))
        self.legend = gui.add_html("")
        self.pieces = gui.add_checkbox("Shade the pieces", True)
        self.beside = gui.add_checkbox("Prediction beside", False)
        self.size = gui.add_slider("Size of points", 0.2, 4.0, 0.1, 1.4)
        for field in (self.pieces, self.beside, self.size):
            field.on_update(does(lambda _: None))
        up = gui.add_dropdown(
            "Up axis", AXES, initial_value=frame.session.up, hint="The axis of the files that is vertical"
        )
        up.on_update(does(lambda _: frame.session.turn(up.value)))

    @property
    def chosen(self) -> str:
        """What the colours mean."""
        return str(self._look.value)

    def show(self, look: str) -> None:
        """Choose what the colours mean."""
        self.refresh()
        self._look.value = look

    def refresh(self) -> None:
        """Offer what there are data for."""
        looks = looks_of(self.session, self._predicting.prediction)
        if self._look.value not in looks:
            self._look.value = LABELS
        self._look.options = looks
