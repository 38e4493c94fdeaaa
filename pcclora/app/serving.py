"""The web server: viser's, bound to this machine, and shut to whoever has no business there.

viser serves whoever reaches its port, takes the next port if one is in use, and can open a public tunnel if a page
asks for it. So each request passes :class:`Guard` before viser sees it, the port is the one that was asked for or none,
and nothing listens to requests for a tunnel. Before a scan is shown the server asks itself for the page as a stranger
would, and ends if it gets it: a viser that changes inside cannot leave the door open unseen.
"""

import http
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

from pcclora.app import LOCAL
from pcclora.errors import PccloraError
from pcclora.extras import of_extra


class Guard:
    """Who may come in: who has opened the address with the token, which a cookie then stands for.

    So neither other machines nor other users of this one get in, nor a page of the web that a browser here shows; one
    of another origin is refused though the browser may send the cookie.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)

    def answer(self, request: Any) -> Any:
        """Return the response to a request that is refused or sent on with a cookie; None lets it in.

        Args:
            request: websockets' ``Request``: ``path`` and ``headers``.
        """
        from websockets import Headers
        from websockets.http11 import Response

        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return _refusal("a page of another origin asks")
        if self._is_token(_cookie(request.headers.get("Cookie", ""), self.cookie(host))):
            return None
        if self._is_token(parse_qs(urlsplit(request.path).query).get("token", [""])[0]):
            cookie = f"{self.cookie(host)}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            return Response(
                http.HTTPStatus.FOUND, "Found", Headers({"Location": "/", "Set-Cookie": cookie, "Content-Length": "0"})
            )
        return _refusal("open the address that the terminal shows, with its token")

    @staticmethod
    def cookie(host: str) -> str:
        """Return the name of the cookie; a browser sends the cookies of all ports of a machine to each."""
        return f"pcclora-{host.rpartition(':')[2]}"

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())


def start_server(host: str, port: int, *, label: str) -> tuple[Any, str]:
    """Start viser's server behind a guard.

    Args:
        host: The address to listen at.
        port: The port; 0 takes a free one.
        label: What the panel is called.

    Returns:
        The ``ViserServer``, and the address to open, with the token.

    Raises:
        PccloraError: If viser is not there, the port is in use, or the guard is not heard.
    """
    with of_extra("app", "the application"):
        import viser
    port = _free_port(host, port)
    guard = Guard()
    with _guarded(guard):
        server = viser.ViserServer(host, port, label=label, verbose=False)
    try:
        if server.get_port() != port:
            raise PccloraError(f"port {port} at {host} was taken while the server started; choose another --port")
        _refuse_tunnels(server)
        _try_as_stranger(host, port)
    except BaseException:
        server.stop()
        raise
    shown = LOCAL if host in ("0.0.0.0", "") else "[::1]" if host in ("::", "::1") else host  # noqa: S104
    return server, f"http://{shown}:{port}/?token={guard.token}"


def _free_port(host: str, port: int) -> int:
    """Return the port if it can be listened at; viser would take another one and say nothing."""
    if not 0 <= port < 2**16:
        raise PccloraError(f"--port {port}: a number from 0 to 65535 is needed; 0 takes a free one")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            return int(trial.getsockname()[1])
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PccloraError(
            f"cannot listen at {host}, port {port}: {reason}; choose another --port or --host"
        ) from error


@contextmanager
def _guarded(guard: Guard) -> Iterator[None]:
    """Have the server that is started inside ask a guard first; viser itself has no place for one."""
    import websockets.asyncio.server as websockets_server

    serve = websockets_server.serve

    def guarded(*arguments: Any, process_request: Callable[[Any, Any], Any], **options: Any) -> Any:
        def first(connection: Any, request: Any) -> Any:
            return guard.answer(request) or process_request(connection, request)

        return serve(*arguments, process_request=first, **options)

    # viser prints an address that lacks the token
    with patch.object(websockets_server, "serve", guarded), patch("rich.print", _say_nothing):
        yield


def _refuse_tunnels(server: Any) -> None:
    from viser import _messages

    for message in (_messages.ShareUrlRequest, _messages.ShareUrlDisconnect):
        server._websock_server.unregister_handler(message)
    server.gui.configure_theme(show_share_button=False, show_logo=False)


def _try_as_stranger(host: str, port: int) -> None:
    """Ask for the page, and for what is sent to it, without the token."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    for headers in ({}, {**upgrade, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}):
        connection = HTTPConnection(LOCAL if host == "0.0.0.0" else host, port, timeout=20)  # noqa: S104
        try:
            connection.request("GET", "/", headers=headers)
            status = connection.getresponse().status
        except OSError as error:
            raise PccloraError(f"the server at {host}:{port} does not answer: {error}") from error
        finally:
            connection.close()
        if status != http.HTTPStatus.FORBIDDEN:
            raise PccloraError(
                f"the server let a stranger in (status {status}): this viser is not one that can be guarded; install "
                "'pcclora[app]' anew"
            )


def _refusal(reason: str) -> Any:
    from websockets import Headers
    from websockets.http11 import Response

    body = f"refused: {reason}\n".encode()
    headers = Headers({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))})
    return Response(http.HTTPStatus.FORBIDDEN, "Forbidden", headers, body)


def _cookie(header: str, name: str) -> str:
    found = SimpleCookie(header).get(name)
    return "" if found is None else found.value


def _say_nothing(*_: object) -> None:
    pass
