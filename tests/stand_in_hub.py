"""A stand-in of the Hugging Face hub on loopback: what huggingface_hub asks of it to make, fill and read a repository.

Small files come in the commit itself, tensors by git-lfs before it, as at the hub. Its protocol is huggingface_hub's,
which speaks it here as it does there; no code of ours is on this side.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_of_the_owner"  # noqa: S105


class Hub:
    """Repositories in memory.

    Attributes:
        files: Repository -> commit -> path -> content.
        refs: Repository -> branch or tag -> commit.
        private: Repositories that only the owner sees.
        gated: Those whose owner must be asked.
        blobs: What has come by git-lfs, by its sha256.
        asked: Method and path of each request.
        broken: Answer each request with an error.
        dropping: Hang up on each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, dict[str, bytes]]] = {}
        self.refs: dict[str, dict[str, str]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.broken = False
        self.dropping = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))

    def settings(self, home: Path) -> dict[str, str]:
        """The environment in which huggingface_hub asks here, with a cache of its own."""
        return {"HF_ENDPOINT": self.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def stop(self) -> None:
        """Be reached no more."""
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def commit(self, repo: str, branch: str, changes: dict[str, bytes]) -> str:
        before = self.files[repo].get(self.refs[repo].get(branch, ""), {})
        after = before | changes
        digest = hashlib.sha1(repr(sorted(after.items())).encode(), usedforsecurity=False).hexdigest()
        self.files[repo][digest], self.refs[repo][branch] = after, digest
        return digest

    def commit_of(self, repo: str, revision: str) -> str | None:
        return revision if revision in self.files[repo] else self.refs[repo].get(revision)

    def newest(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        return self.files[repo][self.refs[repo][branch]]


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the end of the block, or until it is stopped."""
    hub = Hub()
    threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield hub
    hub.stop()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        whole = r"/api/models/([^/]+/[^/]+)"
        self._serve({whole: self._info, rf"{whole}/revision/(.+)": self._info, **self._readers()})

    def do_HEAD(self) -> None:
        self._serve(self._readers())

    def do_PUT(self) -> None:
        self._serve({r"/lfs/(\w+)": self._store})

    def do_POST(self) -> None:
        self._serve(
            {
                r"/api/validate-yaml": self._validate,
                r"/api/repos/create": self._create,
                r"/api/models/([^/]+/[^/]+)/preupload/(.+)": self._preupload,
                r"/api/models/([^/]+/[^/]+)/commit/(.+)": self._commit,
                r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch": self._batch,
            }
        )

    def _readers(self) -> dict[str, Callable[..., None]]:
        return {
            r"/api/models/([^/]+/[^/]+)/tree/([^/]+)": self._tree,
            r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)": self._resolve,
        }

    def _serve(self, routes: dict[str, Callable[..., None]]) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.hub.broken:
            return self._answer({"error": "down for repairs"}, 503)
        if self.hub.dropping:
            self.close_connection = True
            return None
        for pattern, serve in routes.items():
            if found := re.fullmatch(pattern, path):
                return serve(*map(unquote, found.groups()))
        return self._answer({"error": f"no route {path}"}, 404)

    def _answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def _is_owner(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _may_read(self, repo: str) -> bool:
        if repo in self.hub.gated and not self._is_owner:
            self._answer({"error": "ask"}, 403, X_Error_Code="GatedRepo")
        elif repo not in self.hub.files or (repo in self.hub.private and not self._is_owner):
            self._answer({"error": "none"}, 401, X_Error_Code="RepoNotFound")  # as the hub says it of private ones too
        else:
            return True
        return False

    def _may_write(self) -> bool:
        if not self._is_owner:
            self._answer({"error": "You don't have the rights to write here"}, 403)
        return self._is_owner

    def _validate(self) -> None:
        self._answer({"errors": [], "warnings": []})

    def _create(self) -> None:
        if not self._may_write():
            return
        asked = json.loads(self.body)
        repo = f"{asked['organization']}/{asked['name']}"
        if repo in self.hub.files:
            return self._answer({"error": "there", "url": f"{self.hub.address}/{repo}"}, 409)
        self.hub.files[repo], self.hub.refs[repo] = {}, {}
        self.hub.commit(repo, "main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        if asked.get("visibility") == "private" or asked.get("private"):
            self.hub.private.add(repo)
        self._answer({"url": f"{self.hub.address}/{repo}"})

    def _preupload(self, repo: str, branch: str) -> None:
        if not self._may_write():
            return
        if branch not in self.hub.refs[repo]:
            return self._answer({"error": "no branch"}, 404, X_Error_Code="RevisionNotFound")
        modes = {True: "lfs", False: "regular"}
        paths = [file["path"] for file in json.loads(self.body)["files"]]
        files = [{"path": p, "uploadMode": modes[p.endswith(".safetensors")], "shouldIgnore": False} for p in paths]
        self._answer({"files": files})

    def _batch(self, repo: str) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{one['oid']}"}}}
            for one in json.loads(self.body)["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _store(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.blobs[oid] = self.body
        self._answer({})

    def _commit(self, repo: str, branch: str) -> None:
        if not self._may_write():
            return
        changes = {}
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                changes[value["path"]] = self.hub.blobs[value["oid"]]
        digest = self.hub.commit(repo, branch, changes)
        self._answer({"commitUrl": f"{self.hub.address}/{repo}/commit/{digest}", "commitOid": digest})

    def _known(self, repo: str, revision: str) -> str | None:
        if not self._may_read(repo):
            return None
        commit = self.hub.commit_of(repo, revision)
        if commit is None:
            self._answer({"error": "no revision"}, 404, X_Error_Code="RevisionNotFound")
        return commit

    def _info(self, repo: str, revision: str = "main") -> None:
        if commit := self._known(repo, revision):
            files = self.hub.files[repo][commit]
            siblings = [{"rfilename": path} for path in files]
            private = repo in self.hub.private
            self._answer({"id": repo, "sha": commit, "private": private, "siblings": siblings, "tags": []})

    def _tree(self, repo: str, revision: str) -> None:
        if commit := self._known(repo, revision):
            files = self.hub.files[repo][commit].items()
            self._answer([{"type": "file", "path": p, "size": len(c), "oid": _blob(c)} for p, c in files])

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        if commit := self._known(repo, revision):
            content = self.hub.files[repo][commit].get(path)
            if content is None:
                return self._answer({"error": "no file"}, 404, X_Error_Code="EntryNotFound")
            self._answer(content, ETag=f'"{_blob(content)}"', X_Repo_Commit=commit)


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
