"""Panels beside the scene, of runs: what a run says of the scan, and the training of a new one."""

import threading
import time
from collections.abc import Callable, Sequence

from pcclora.adapters import list_adapters
from pcclora.app.adapting import COMMANDS, Training
from pcclora.app.frame import Frame
from pcclora.app.looks import TOKENS_AT_FIRST, legend_html
from pcclora.app.predicting import Prediction
from pcclora.errors import PccloraError
from pcclora.runs.load import load_run
from pcclora.text import visible
from pcclora.vis.tokens import Tokens, tokens_of

_NO_RUN = "(none: pcclora app --run DIR, or adapt)"


class Predicting:
    """The run that is asked, and what it says."""

    def __init__(self, frame: Frame, *, show: Callable[[str], None]) -> None:
        self._show = show
        self.frame, self.session = frame, frame.session
        gui, does = frame.server.gui, frame.does
        names = list(frame.session.runs) or [_NO_RUN]
        self._run = gui.add_dropdown("Run", names, initial_value=names[0])
        self._run.on_update(does(lambda _: None))
        gui.add_button("Predict", icon="wand").on_click(does(lambda _: self.show()))
        self._answer = gui.add_html("")

    @property
    def chosen(self) -> str | None:
        """The name of the run, or None where there is none."""
        return self._run.value if self._run.value in self.session.runs else None

    @property
    def prediction(self) -> Prediction | None:
        """What the run has said of the scan."""
        return None if self.chosen is None else self.session.predicted(self.chosen)

    @property
    def tokens(self) -> Tokens:
        """How the run's model cuts a cloud."""
        if self.chosen is None:
            return TOKENS_AT_FIRST
        try:
            return tokens_of(self.session.runs[self.chosen].config)
        except PccloraError:  # a model that cuts nothing
            return TOKENS_AT_FIRST

    def ask(self) -> Prediction:
        """Ask the run about the scan."""
        if self.chosen is None:
            raise PccloraError(
                "there is no run to ask: start with pcclora app SCANS --run DIR, or adapt to your labels"
            )
        return self.session.predict(self.chosen)

    def show(self) -> None:
        """Ask, and colour the scan by the answer."""
        found = self.ask()
        self._show("confidence" if found.labels is None else "prediction")

    def use(self, name: str) -> None:
        """Choose a run, which may be new."""
        self._run.options = list(self.session.runs)
        self._run.value = name

    def refresh(self) -> None:
        """Show what the run has said."""
        found = self.prediction
        if found is None:
            self._answer.content = ""
            return
        lines = [f"{name}: {share:.1%}" for name, share in list(found.classes.items())[:5]]
        if found.labels is not None:
            shares = [float((found.labels == part).mean()) for part in range(len(found.parts))]
            lines = [
                f"{found.category}",
                *(f"{name}: {share:.1%}" for name, share in zip(found.parts, shares, strict=True)),
            ]
            lines.append(f"mean confidence {found.confidence.mean():.1%}")
        self._answer.content = legend_html((), more=[*lines, *found.remarks])


class Adapting:
    """Trains on what is labelled, and uses the new run."""

    def __init__(self, frame: Frame, predicting: Predicting, settings: Sequence[str]) -> None:
        self.frame, self.session, self._predicting, self._settings = frame, frame.session, predicting, settings
        gui, does = frame.server.gui, frame.does
        self._what = gui.add_dropdown("Learn", tuple(COMMANDS), initial_value="parts")
        self._method = gui.add_dropdown("Method", list_adapters(), initial_value="clora")
        self._epochs = gui.add_number("Epochs", 30, min=1, max=10000, step=1)
        self._start = gui.add_button("Adapt", icon="player-play", color="green")
        self._start.on_click(does(lambda _: self._begin()))
        self._cancel = gui.add_button("Cancel", icon="player-stop", color="red", visible=False)
        self._cancel.on_click(does(lambda _: self.stop()))
        self._bar = gui.add_progress_bar(0.0, visible=False, animated=True)
        self._said = gui.add_markdown("")
        self._training: Training | None = None

    def refresh(self) -> None:
        """Show what can be trained on."""
        if self._training is None and not self._said.content.startswith("Trained"):
            counts = self.session.labels.finished()
            held = ", ".join(f"{count} {visible(name)}" for name, count in counts.items())
            self._said.content = f"Finished scans: {held or 'none yet'}."

    @property
    def running(self) -> bool:
        """Whether something trains, or what it has trained is being taken into use."""
        return self._training is not None

    def stop(self) -> None:
        """End the training that runs."""
        if self._training is not None:
            self._training.cancel()

    def _begin(self) -> None:
        if self._training is not None:
            raise PccloraError("a training runs already; cancel it, or wait for it")
        settings = [f"adapter={self._method.value}", f"train.epochs={int(self._epochs.value)}", *self._settings]
        self._training = Training(self.session.labels, what=self._what.value, up=self.session.up, settings=settings)
        self._show_running(True)
        threading.Thread(target=self._watch, args=(self._training,), daemon=True).start()

    def _watch(self, training: Training) -> None:
        while training.running:
            progress = training.progress()
            self._bar.value = 100 * progress.done / progress.epochs
            left = "" if progress.left is None else f", about {max(progress.left, 1):.0f} s left"
            self._said.content = (
                f"Epoch {progress.done} of {progress.epochs}{left}; {visible(str(training.folder.path))}"
            )
            time.sleep(0.5)
        training.wait()
        self._end(training)

    def _end(self, training: Training) -> None:
        with self.frame.lock:
            self._said.content = "Ended before it was done." if training.error else f"Trained: {training.folder.path}"
            try:
                if training.error:
                    raise PccloraError(f"the training has ended: {training.error}")
                name = training.folder.path.name
                self.session.runs[name] = load_run(training.folder.path)
                self._predicting.use(name)
                self._predicting.show()
                self.frame.say(f"trained; {name} predicts now")
            except PccloraError as error:
                self.frame.say(str(error), bad=True)
            finally:
                self._training = None
                self._show_running(False)
                self.frame.refresh()

    def _show_running(self, running: bool) -> None:
        self._start.visible, self._cancel.visible, self._bar.visible = not running, running, running
        self._bar.value = 0.0
