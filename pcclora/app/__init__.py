"""The web application: scans are looked at, predicted, labelled and adapted to, in a browser.

:mod:`pcclora.app.session` is what is done, :mod:`pcclora.app.window` what is seen of it; viser is imported by
:mod:`pcclora.app.serving` and :mod:`pcclora.app.window` alone.
"""

LOCAL = "127.0.0.1"
"""The address that this machine alone reaches."""
