"""The door: who has no token is kept out of page and messages, a port in use is said, and an open door is noticed."""

import http.client
import socket
import sys
from types import SimpleNamespace

import pytest

from pcclora.app.serving import LOCAL, Guard, start_server
from pcclora.errors import PccloraError

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.fixture(scope="module")
def served():
    """A server and its port and token."""
    server, address = start_server(LOCAL, 0, label="test")
    yield server.get_port(), address.partition("token=")[2]
    server.stop()


def ask(port: int, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(LOCAL, port, timeout=30)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


@pytest.mark.parametrize("upgrade", [{}, UPGRADE], ids=["page", "messages"])
@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=guess", "/index.html", "/../../etc/passwd"])
def test_nobody_gets_in_without_the_token(served, path, upgrade):
    answer = ask(served[0], path, **upgrade)
    assert answer.status == 403
    assert b"the address that the terminal shows" in answer.read()


def test_the_token_becomes_a_cookie_that_lets_in(served):
    port, token = served
    sent_on = ask(port, f"/?token={token}")
    cookie = sent_on.getheader("Set-Cookie")
    assert (sent_on.status, sent_on.getheader("Location")) == (302, "/")
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    page = ask(port, Cookie=cookie.partition(";")[0])
    assert page.status == 200 and b"<html" in page.read()
    assert ask(port, Cookie=cookie.partition(";")[0], **UPGRADE).status == 101


def test_a_page_of_another_origin_stays_out_even_with_the_cookie(served):
    port, token = served
    cookie = f"{Guard.cookie(f'{LOCAL}:{port}')}={token}"
    assert ask(port, Cookie=cookie, Origin="http://evil.example", **UPGRADE).status == 403
    assert ask(port, Cookie=cookie, Origin=f"http://{LOCAL}:{port}", **UPGRADE).status == 101


def test_every_start_has_another_token():
    assert Guard().token != Guard().token and len(Guard().token) >= 32


def test_nothing_listens_to_requests_for_a_public_tunnel(monkeypatch):
    from viser import ViserServer, _messages

    monkeypatch.setattr(ViserServer, "request_share_url", lambda self: pytest.fail("a tunnel was opened"))
    server, _ = start_server(LOCAL, 0, label="test")
    assert _messages.ShareUrlRequest not in server._websock_server._incoming_handlers
    server.stop()


class TestRefused:
    def test_a_port_in_use(self):
        with socket.socket() as other:
            other.bind((LOCAL, 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(PccloraError, match=rf"port {port}: Address already in use; choose another --port"):
                start_server(LOCAL, port, label="test")

    @pytest.mark.parametrize("port", [-1, 65536])
    def test_a_number_that_is_no_port(self, port):
        with pytest.raises(PccloraError, match="from 0 to 65535"):
            start_server(LOCAL, port, label="test")

    @pytest.mark.parametrize("host", ["192.0.2.7", "no.such.host.invalid"])
    def test_an_address_that_this_machine_has_not(self, host):
        with pytest.raises(PccloraError, match=f"cannot listen at {host}"):
            start_server(host, 0, label="test")

    def test_a_viser_that_does_not_ask_the_guard(self, monkeypatch):
        monkeypatch.setattr(Guard, "answer", lambda self, request: None)
        with pytest.raises(PccloraError, match="let a stranger in"):
            start_server(LOCAL, 0, label="test")

    def test_a_machine_without_viser(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "viser", None)
        with pytest.raises(PccloraError, match=r"pip install 'pcclora\[app\]'"):
            start_server(LOCAL, 0, label="test")


def test_a_request_without_any_header_is_answered():
    assert Guard().answer(SimpleNamespace(path="/", headers={})).status_code == 403
