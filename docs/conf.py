"""Settings of the site: sphinx-build -W docs site (needs the extra ``docs``)."""

import jaxmrf

project = "jaxmrf"
author = "the jaxmrf authors"
release = version = jaxmrf.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"jaxmrf {version}"
exclude_patterns = ["examples", "images"]
myst_heading_anchors = 3  # as on GitHub, so that links to headings work in both places

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
napoleon_use_rtype = False


def setup(app):
    """Leaves out fields of named tuples as members: their class describes them."""
    app.connect("autodoc-skip-member", _skips)


def _skips(app, what, name, member, skip, options):
    return skip or type(member).__name__ == "_tuplegetter"
