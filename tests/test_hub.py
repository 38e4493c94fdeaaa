"""Names on the hub, and what goes wrong between here and it; huggingface_hub speaks to a stand-in on loopback."""

import pytest

from pcclora.errors import PccloraError
from pcclora.hub import HubName, fetch, is_on_hub, local, send

NAME = HubName("me/mine")


def test_names_are_read_and_written():
    assert HubName.read("me/mine") == HubName.read("hub:me/mine") == NAME and str(NAME) == "hub:me/mine"
    pinned = HubName.read("hub:me/a.b-c_d@refs/pr/1")
    assert pinned == HubName("me/a.b-c_d", "refs/pr/1") and str(pinned) == "hub:me/a.b-c_d@refs/pr/1"
    assert is_on_hub("hub:x") and not is_on_hub("me/mine")


@pytest.mark.parametrize(
    "text", ["mine", "hub:", "a/b/c", "hub:me/mine@", "me/m ine", "me/mine@a@b", "hub:../mi/ne", "/me/mine"]
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(PccloraError, match="names no repository of the hub; write owner/name"):
        HubName.read(text)


def test_files_go_out_and_come_back_in_their_versions(hub):
    first = send(NAME, {"a.txt": b"1", "in/b.safetensors": b"tensors"}, private=False, message="first")
    commit = first.rpartition("/")[2]
    assert hub.newest("me/mine")["in/b.safetensors"] == b"tensors" and "me/mine" not in hub.private
    send(NAME, {"a.txt": b"2"}, private=False, message="second")
    assert hub.newest("me/mine")["in/b.safetensors"] == b"tensors"
    newest = fetch(NAME, ["a.txt"])
    assert (newest / "a.txt").read_bytes() == b"2" and not (newest / "in").exists()
    pinned = fetch(HubName("me/mine", commit), ["a.txt", "in/b.safetensors"])
    assert (pinned / "a.txt").read_bytes() == b"1" and (pinned / "in" / "b.safetensors").read_bytes() == b"tensors"
    assert local("hub:me/mine", ["a.txt"]) == newest and local(newest, []) == newest


def test_a_private_repository_is_made_private(hub, monkeypatch):
    send(NAME, {"a.txt": b"1"}, private=True, message="first")
    send(NAME, {"a.txt": b"2"}, private=True, message="second")
    assert hub.private == {"me/mine"}
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(PccloraError, match="no such repository at http://127.0.0.1:.*or a private one: log in by `hf"):
        fetch(NAME, ["a.txt"])


def test_what_is_private_does_not_go_where_all_see_it(hub):
    send(NAME, {"a.txt": b"1"}, private=False, message="first")
    with pytest.raises(PccloraError, match="hub:me/mine: is there and public; make it private at http"):
        send(NAME, {"a.txt": b"2"}, private=True, message="second")
    assert hub.newest("me/mine")["a.txt"] == b"1"


def test_the_copy_is_used_where_the_hub_is_not_reached(hub):
    send(NAME, {"a.txt": b"1", "b.txt": b"2"}, private=False, message="first")
    fetch(NAME, ["a.txt"])
    hub.broken = True
    assert (fetch(NAME, ["a.txt"]) / "a.txt").read_bytes() == b"1"
    hub.broken, hub.dropping = False, True
    assert (fetch(NAME, ["a.txt"]) / "a.txt").read_bytes() == b"1"
    with pytest.raises(
        PccloraError, match=r"cannot be reached \(RemoteProtocolError.*no whole copy was fetched before"
    ):
        fetch(HubName("me/other"), ["a.txt"])
    hub.stop()
    assert (fetch(NAME, ["a.txt"]) / "a.txt").read_bytes() == b"1"
    for name, files in (
        (NAME, ["a.txt", "b.txt"]),
        (HubName("me/other"), ["a.txt"]),
        (HubName("me/mine", "v1"), ["a.txt"]),
    ):
        with pytest.raises(PccloraError, match=r"cannot be reached \(ConnectError.*no whole copy was fetched before"):
            fetch(name, files)
    with pytest.raises(PccloraError, match=r"hub:me/mine: http://127.0.0.1:\d+: ConnectError: .*; try again$"):
        send(NAME, {"a.txt": b"3"}, private=False, message="third")


def test_offline_by_choice_asks_nobody(hub, monkeypatch):
    send(NAME, {"a.txt": b"1"}, private=False, message="first")
    fetch(NAME, ["a.txt"])
    asked = len(hub.asked)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert (fetch(NAME, ["a.txt"]) / "a.txt").read_bytes() == b"1"
    with pytest.raises(PccloraError, match=r"cannot be reached \(OfflineModeIsEnabled"):
        fetch(HubName("me/other"), ["a.txt"])
    assert len(hub.asked) == asked


def test_what_the_hub_refuses_is_said_in_one_sentence(hub, monkeypatch):
    send(NAME, {"a.txt": b"1"}, private=False, message="first")
    with pytest.raises(PccloraError, match="me/mine@v9: has no revision 'v9'"):
        fetch(HubName("me/mine", "v9"), ["a.txt"])
    with pytest.raises(PccloraError, match="me/mine@v9: has no revision 'v9'"):
        send(HubName("me/mine", "v9"), {"a.txt": b"2"}, private=False, message="second")
    with pytest.raises(PccloraError, match="cannot be a name on the hub"):
        fetch(HubName("me/mine..x"), ["a.txt"])
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(PccloraError, match="may not be written to by you; log in .* of a token that may write$"):
        send(NAME, {"a.txt": b"3"}, private=False, message="third")
    hub.gated.add("me/mine")
    with pytest.raises(PccloraError, match="its owner lets in who asks: ask on http://127.0.0.1"):
        fetch(NAME, ["a.txt"])
    assert hub.newest("me/mine")["a.txt"] == b"1"
