"""Files on the Hugging Face hub: ``hub:owner/name`` or ``hub:owner/name@revision`` in the place of a folder.

What is fetched is kept in the hub's own cache; the copy there is used where the hub cannot be reached. HF_ENDPOINT,
HF_HOME, HF_TOKEN and HF_HUB_OFFLINE mean what they mean to huggingface_hub, which does the work.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from pcclora.errors import PccloraError
from pcclora.extras import pip_line
from pcclora.text import first_line, short

_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^\s@]+))?", re.ASCII)
_PREFIX = "hub:"


@dataclass(frozen=True)
class HubName:
    """A repository of models on the hub.

    Attributes:
        repo: ``owner/name``.
        revision: A branch, a tag or a commit; None is the newest of its main branch.
    """

    repo: str
    revision: str | None = None

    @classmethod
    def read(cls, text: str) -> "HubName":
        """Read ``owner/name`` or ``owner/name@revision``, with or without ``hub:``.

        Raises:
            PccloraError: If it is neither.
        """
        found = _NAME.fullmatch(text.removeprefix(_PREFIX))
        if found is None:
            raise PccloraError(f"'{text}' names no repository of the hub; write owner/name, or owner/name@revision")
        return cls(found["repo"], found["revision"])

    def __str__(self) -> str:
        return f"{_PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def is_on_hub(place: str | Path) -> bool:
    """Tell whether a place is a name on the hub, not a folder."""
    return str(place).startswith(_PREFIX)


def local(place: str | Path, names: Sequence[str]) -> Path:
    """Return a folder as it is, or the folder to which the files of a ``hub:...`` have been fetched.

    Args:
        place: A folder, or a name on the hub.
        names: The files that are wanted, where they are there; nothing else is fetched.

    Raises:
        PccloraError: If it is a name on the hub, and no such repository, not to be reached or not to be read.
    """
    return fetch(HubName.read(str(place)), names) if is_on_hub(place) else Path(place)


def fetch(name: HubName, names: Sequence[str]) -> Path:
    """Return the folder of the hub's cache that has a repository's files, as they are there now.

    Args:
        name: The repository.
        names: The files that are wanted, where they are there.

    Raises:
        PccloraError: If there is no such repository or revision, or it can neither be reached nor is it in the cache.
    """
    with _telling(name):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
        from huggingface_hub.utils.tqdm import tqdm

        class Bar(tqdm):
            """A bar where something takes long, on a terminal."""

            def __init__(self, *words: Any, **options: Any) -> None:
                quiet = {"delay": 2, "leave": False, "disable": None}
                super().__init__(*words, **options | quiet)  # type: ignore[no-untyped-call]

        get = partial(snapshot_download, name.repo, revision=name.revision, allow_patterns=[*names], tqdm_class=Bar)
        try:
            return Path(get())
        except HfHubHTTPError:
            raise
        except _cut_line() as error:
            try:
                return Path(get(local_files_only=True))
            except LocalEntryNotFoundError as absent:
                raise absent from error


def send(name: HubName, files: Mapping[str, bytes], *, private: bool, message: str) -> str:
    """Put files into a repository in one commit; it is made if it is not there.

    Args:
        name: The repository, and its branch.
        files: By their paths in it. Those of other names stay as they are.
        private: Make a repository that only its owner sees; a public one that is there is refused.
        message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        PccloraError: If the hub cannot be reached, does not let this user write there, or shows to all what is private.
    """
    with _telling(name, writing=True):
        from huggingface_hub import CommitOperationAdd, HfApi

        added = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=content) for path, content in files.items()]
        api = HfApi()
        api.create_repo(name.repo, private=private or None, exist_ok=True)
        if private and not api.repo_info(name.repo).private:
            raise PccloraError(
                f"{name}: is there and public; make it private at {api.endpoint}, or choose another name"
            )
        return str(api.create_commit(name.repo, added, commit_message=message, revision=name.revision).commit_url)


def _cut_line() -> type[Exception]:
    """Return what the network library of huggingface_hub raises, whichever its version has."""
    from huggingface_hub.errors import HfHubHTTPError

    return cast("type[Exception]", HfHubHTTPError.__bases__[0])


@contextmanager
def _telling(name: HubName, *, writing: bool = False) -> Iterator[None]:
    """Turn what goes wrong between here and the hub into one sentence."""
    try:
        from huggingface_hub import constants, errors
    except ImportError as error:
        raise PccloraError(f"{name}: needs huggingface_hub: {pip_line('hub')}") from error
    try:
        yield
    except PccloraError:  # it is a ValueError
        raise
    except errors.RevisionNotFoundError as error:
        raise PccloraError(f"{name}: has no revision '{name.revision or 'main'}' at {constants.ENDPOINT}") from error
    except errors.GatedRepoError as error:
        raise PccloraError(f"{name}: its owner lets in who asks: ask on {constants.ENDPOINT}/{name.repo}") from error
    except errors.RepositoryNotFoundError as error:
        raise PccloraError(f"{name}: no such repository at {constants.ENDPOINT}, or a private one: {_LOGIN}") from error
    except errors.HfHubHTTPError as error:
        raise PccloraError(f"{name}: {_refusal(error, writing)}") from error
    except errors.HFValidationError as error:
        raise PccloraError(f"{name}: cannot be a name on the hub: {error}") from error
    except errors.LocalEntryNotFoundError as error:
        reached = _said(error.__cause__ or error)
        raise PccloraError(
            f"{name}: {constants.ENDPOINT} cannot be reached ({reached}), and no whole copy was fetched before; try "
            "again with a network, or give a folder"
        ) from error
    except (OSError, ValueError, _cut_line()) as error:
        raise PccloraError(f"{name}: {constants.ENDPOINT}: {_said(error)}; try again") from error


_LOGIN = "log in by `hf auth login`, or set HF_TOKEN"


def _refusal(error: Any, writing: bool) -> str:
    status = error.response.status_code
    what = "be written to" if writing else "be read"
    if status in (401, 403):
        return f"may not {what} by you; {_LOGIN}" + (" of a token that may write" if writing else "")
    return f"cannot {what} just now: {_said(error)}; try again"


def _said(error: BaseException) -> str:
    return short(first_line(error), 200)
