"""What all panels share: the server, the session, and how what a person does is carried out."""

import threading
from collections.abc import Callable
from typing import Any

from pcclora.app.session import Session
from pcclora.errors import PccloraError
from pcclora.text import visible


class Frame:
    """Carries out what is done in the browser, one thing at a time.

    Args:
        server: viser's.
        session: What is done.
    """

    def __init__(self, server: Any, session: Session) -> None:
        self.server, self.session = server, session
        self.lock = threading.RLock()
        self.refresh: Callable[[], None] = lambda: None
        """Draws anew what may have changed; the window says how."""

    def does(self, action: Callable[[Any], object]) -> Callable[[Any], None]:
        """Return a callback for what a person does: bad input becomes a message, and all that is seen is drawn anew.

        Args:
            action: Takes viser's event.
        """

        def callback(event: Any) -> None:
            if event.client is None:  # a value was set from here
                return
            with self.lock:
                try:
                    action(event)
                except PccloraError as error:
                    self.say(str(error), bad=True)
                except Exception as error:
                    self.say(f"{type(error).__name__}: {error}; the terminal has the rest", bad=True)
                    raise
                finally:
                    self.refresh()

        return callback

    def say(self, text: str, *, bad: bool = False) -> None:
        """Show a sentence in every browser."""
        for client in self.server.get_clients().values():
            title, color, seconds = ("That cannot be done", "red", 12.0) if bad else ("Done", "green", 5.0)
            client.add_notification(title, visible(text, lines=True), auto_close_seconds=seconds, color=color)
