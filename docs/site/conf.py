"""The documentation site: `make docs`.

The source folder is the repository itself, so a page has one text, whose links lead to the same place as on GitHub.
A broken link, a page that no list below names, and a name that is not there or not described are errors.
"""

import re
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import pcclora

logger = logging.getLogger(__name__)

project = "pcclora"
author = "The pcclora authors"
release = version = pcclora.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]

root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/site/*.rst", "datasets/*/README.md", "pcclora/models/weights/README.md"]
exclude_patterns = [".*"]  # a virtual environment has pages of its own

CONTENTS = {
    "Your data": "docs/own_data docs/python docs/training docs/seeing docs/sharing docs/deploy docs/trust docs/up_axis "
    "docs/formats docs/features docs/part_segmentation docs/app docs/images",
    "Methods and numbers": "docs/methods docs/adapters docs/peft docs/checkpoints docs/protocols docs/results "
    "docs/benchmarks docs/cluster",
    "Python": "docs/site/pcclora docs/site/adapters docs/site/models docs/site/data docs/site/ops docs/site/metrics "
    "docs/site/runs docs/site/vis",
    "When something fails": "docs/debugging docs/reliability SECURITY",
    "Development": "CONTRIBUTING docs/adding_a_method docs/architecture docs/decisions docs/releases CHANGELOG",
    "Data sets": "datasets/*/README pcclora/models/weights/README",
}

highlight_language = "none"
myst_heading_anchors = 4
autodoc_default_options = {"members": True, "imported-members": True}
autodoc_preserve_defaults = True
napoleon_use_ivar = True
python_maximum_signature_line_length = 100

nitpicky = True

html_theme = "furo"
html_title = f"pcclora {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["extra"]
html_copy_source = False


def _append_lists(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the README, which GitHub shows without it, the list of all pages, and the package that of its names."""
    if page == root_doc:
        for caption, pages in CONTENTS.items():
            listed = "\n".join(f"/{name}" for name in pages.split())
            source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n{listed}\n```\n"
    if page == "docs/site/pcclora":
        rooms = {name: ".".join(getattr(pcclora, name).__module__.split(".")[:2]) for name in pcclora.__all__}
        source[0] += "".join(f"   {room}.{name}\n" for name, room in rooms.items())


def _describe_all(app: Sphinx, env: BuildEnvironment) -> None:
    """Say which public names the pages do not describe: what has no docstring is left out of them."""
    described = env.domains.python_domain.objects
    for room in (page.rsplit("/", 1)[-1] for page in CONTENTS["Python"].split()[1:]):
        for name in import_module(f"pcclora.{room}").__all__:
            if f"pcclora.{room}.{name}" not in described:
                logger.warning("pcclora.%s.%s has no docstring, or no entry in docs/site/%s.rst", room, name, room)


def _find(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element) -> nodes.Element | None:
    """Find a name without its module, as Python does that imported it; what is there but on no page has no link."""
    if node.get("refdomain") != "py":
        return None
    found, target, domain = None, node["reftarget"], env.domains.python_domain
    if not node.hasattr("refspecific"):
        node["refspecific"] = True
        found = domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, text)
    return found or (text if "." in target and _exists(target) else None)


def _exists(name: str) -> bool:
    try:
        resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        return False
    return True


def _take_no_type(app: Sphinx, what: str, name: str, found: object, options: Any, lines: list[str]) -> None:
    """Say that what is returned has no type in its text: else all up to a colon is taken for one."""
    for place, line in enumerate(lines[:-1]):
        if line.strip() == "Returns:":
            lines[place + 1] = re.sub(r"^\s*", r"\g<0>: ", lines[place + 1])


def _skip_fields(app: Sphinx, what: str, name: str, member: object, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, which Python describes by their number and the class by their meaning."""
    return True if type(member).__name__ == "_tuplegetter" else None


def _write_factories(
    app: Sphinx, what: str, name: str, found: object, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Write a default that a dataclass makes anew as what it is, an empty dictionary: ``<factory>`` is no Python."""
    return (signature.replace("<factory>", "{}") if signature else signature), returns


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("autodoc-process-signature", _write_factories)
    app.connect("autodoc-skip-member", _skip_fields)
    app.connect("autodoc-process-docstring", _take_no_type, priority=400)  # before napoleon
    app.connect("source-read", _append_lists)
    app.connect("env-check-consistency", _describe_all)
    app.connect("missing-reference", _find)
