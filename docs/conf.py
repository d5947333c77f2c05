"""How Sphinx builds the site: `python -m sphinx -W docs site` reads the pages of this folder and the docstrings."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]  # the site tells of this tree, whatever is installed

import reference  # noqa: E402

_PROJECT = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project, version, release = _PROJECT["name"], _PROJECT["version"], _PROJECT["version"]
author = _PROJECT["authors"][0]["name"]
project_copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
nitpicky = True  # a reference that leads nowhere is a warning

autodoc_typehints = "none"  # docstrings say shapes and dtypes
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True}
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False


setup = reference.connect
