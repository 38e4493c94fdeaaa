"""What is seen of a session in the browser: the scene, the pointer, the keys, and the panels of :mod:`.panels`."""

from collections.abc import Callable, Sequence
from functools import partial
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np

from pcclora.app.frame import Frame
from pcclora.app.labels import UNLABELLED
from pcclora.app.looks import LABELS, PREDICTION, legend_html, look, with_pieces, with_selection
from pcclora.app.panels import Labelling, Looking
from pcclora.app.pointing import Eye
from pcclora.app.run_panels import Adapting, Predicting
from pcclora.app.session import How, Session
from pcclora.text import visible

_MODIFIERS: dict[str | None, How] = {None: "new", "shift": "add", "cmd/ctrl": "take"}
_BESIDE = -2.1
"""Where the prediction stands, to the left of the scan, in its radii: on the right is the panel."""
_CAMERA = (0.9, 0.75, 2.3)


class Window:
    """Shows a session: panels, scene, pointer and keys.

    Args:
        server: viser's.
        session: What is done.
        settings: Of trainings, ``key=value``.
    """

    def __init__(self, server: Any, session: Session, *, settings: Sequence[str] = ()) -> None:
        self.server, self.session, self.frame = server, session, Frame(server, session)
        self.does, self._sent = self.frame.does, object()
        self.files = short_names(session.paths)
        self._head()
        tabs = server.gui.add_tab_group()
        label, looks, predict, adapt = (tabs.add_tab(name) for name in ("Label", "Look", "Predict", "Adapt"))
        with predict:
            self.predicting = Predicting(self.frame, show=lambda look: self.looking.show(look))
        with label:
            self.labelling = Labelling(self.frame, self.predicting)
        with looks:
            self.looking = Looking(self.frame, self.predicting)
        with adapt:
            self.adapting = Adapting(self.frame, self.predicting, settings)
        self.frame.refresh = self.refresh
        self._scene()
        self._pointer()
        self._keys()
        self.refresh()

    def open(self, index: int) -> None:
        """Open another scan; at either end nothing happens. Where it was asked for, a run's labels are its start."""
        if not 0 <= index < len(self.session.paths):
            return
        self.session.open(index)
        if self.labelling.starts_from_run and (self.session.now.labels == UNLABELLED).all():
            run = self.predicting.chosen
            if run is not None and self.session.runs[run].task == "partseg":
                self.labelling.category_from_here()
                self.session.propose(self.session.predict(run))

    def refresh(self) -> None:
        """Draw anew what may have changed."""
        with self.frame.lock, self.server.atomic():
            session = self.session
            self.file.value = self.files[session.index]
            self.status.content = self._status()
            for panel in (self.labelling, self.predicting, self.looking, self.adapting):
                panel.refresh()
            self._draw()

    def _head(self) -> None:
        gui = self.server.gui
        self.file = gui.add_dropdown("Scan", self.files, initial_value=self.files[0])
        self.file.on_update(self.does(lambda _: self.open(self.files.index(self.file.value))))
        turn = gui.add_button_group("Go to", ["previous", "next"])
        turn.on_click(self.does(lambda _: self.open(self.session.index + (1 if turn.value == "next" else -1))))
        self.status = gui.add_markdown("")

    def _status(self) -> str:
        session, now = self.session, self.session.now
        whole, shown = len(session.scan.whole.points), len(session.scan)
        points = f"{whole:,} points" + (f", {shown:,} shown" if shown < whole else "")
        state = "finished" if now.finished else f"{now.share:.0%} labelled"
        state += "" if now.checked else ", proposed by a run: correct it, then *Done*"
        picked = f" · {int(session.selected.sum()):,} selected" if session.selected.any() else ""
        where = f"{session.index + 1} of {len(session.paths)}"
        return f"{where} · {points}{picked}  \n{_plain(now.category) or 'no class yet'} · {state}"

    def _scene(self) -> None:
        scene = self.server.scene
        scene.set_up_direction("+y")
        scene.world_axes.visible = False
        self.server.initial_camera.position = _CAMERA
        self.server.initial_camera.look_at = (0.0, 0.0, 0.0)
        self.server.initial_camera.fov = float(np.radians(50))
        nothing = np.zeros((1, 3), np.float32)
        shape = {"point_shape": "circle", "precision": "float32", "point_shading": "gradient", "point_size": 0.01}
        self._main = scene.add_point_cloud("/scan", nothing, np.zeros((1, 3), np.uint8), **shape)
        self._other = scene.add_point_cloud(
            "/beside", nothing, np.zeros((1, 3), np.uint8), position=(_BESIDE, 0.0, 0.0), visible=False, **shape
        )

    def _draw(self) -> None:
        session, looking, prediction = self.session, self.looking, self.predicting.prediction
        key = (id(session.scan), session.up)
        if key != self._sent:
            self._main.points = self._other.points = session.scan.placed
            self._sent = key
        view = look(session, looking.chosen, prediction, self.predicting.tokens)
        colours = (
            with_pieces(view.colours, session) if looking.chosen == LABELS and looking.pieces.value else view.colours
        )
        self._main.colors = with_selection(colours, session)
        self._main.point_size = self._other.point_size = looking.size.value * session.scan.spacing
        looking.legend.content = legend_html(view.legend)
        beside = looking.beside.value and prediction is not None and prediction.labels is not None
        if beside:
            self._other.colors = look(session, PREDICTION, prediction).colours
        self._other.visible = bool(beside)

    def _pointer(self) -> None:
        scene = self.server.scene
        for modifier, how in _MODIFIERS.items():
            scene.on_click(modifier=modifier)(self.does(partial(self._click, how)))
            if modifier is not None:  # a plain drag turns the scan
                scene.on_rect_select(modifier=modifier)(self.does(partial(self._rectangle, how)))

    def _click(self, how: How, event: Any) -> None:
        self.session.click(_eye(event.client.camera), event.screen_pos, how)

    def _rectangle(self, how: How, event: Any) -> None:
        self.session.rectangle(_eye(event.client.camera), event.screen_min, event.screen_max, how)

    def _keys(self) -> None:
        session = self.session
        self._key("Next scan", "N", lambda: self.open(session.index + 1))
        self._key("Previous scan", "B", lambda: self.open(session.index - 1))
        self._key("Undo", "Z", session.undo, "cmd/ctrl")
        self._key("Redo", "Z", session.redo, "cmd/ctrl+shift")
        self._key("Redo (as Windows has it)", "Y", session.redo, "cmd/ctrl")
        self._key("Select nothing", "escape", lambda: session.select(np.zeros(len(session.scan), bool)))
        self._key("Done: the labels are right", "D", session.check)
        self._key("Predict", "P", self.predicting.show)
        self._key("Erase the labels of what is selected", "0", partial(session.assign, UNLABELLED))
        for part in range(9):
            number = str(part + 1)
            self._key(f"Give what is selected part {number}", number, partial(session.assign, part))
            self._key(f"Give the rest part {number}", number, partial(session.fill, part), "shift")

    def _key(self, label: str, key: str, action: Callable[[], object], modifier: str | None = None) -> None:
        command = self.server.gui.add_command(label, hotkey=key, modifier=modifier)
        command.on_trigger(self.does(lambda _: action()))


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return what to call files: their paths below the folder that all lie in, fit to be shown, no two alike."""
    whole = [str(path.absolute()) for path in paths]
    root = Path(whole[0]).parent if len(whole) == 1 else Path(commonpath(whole))
    names = [visible(str(Path(path).relative_to(root))) for path in whole]
    return [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, 1)]


def _plain(text: str) -> str:
    """Return a name that Markdown leaves as it is."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#+-.!|~$" else letter for letter in visible(text))


def _eye(camera: Any) -> Eye:
    return Eye(np.asarray(camera.position), np.asarray(camera.wxyz), float(camera.fov), float(camera.aspect))
