"""The log of the package: one logger, whose lines hold nothing that a terminal or another process would choke on.

A line may name a file, and whoever names a file may write into what shows the line. The command line makes its own
stream safe; a notebook, a test runner or a service has handlers of its own, so a record is made safe before any of
them has it.
"""

import logging

from pcclora.text import visible


def _made_visible(record: logging.LogRecord) -> bool:
    record.msg, record.args = visible(record.getMessage(), lines=True), ()
    return True


logger = logging.getLogger("pcclora")
logger.addFilter(_made_visible)
