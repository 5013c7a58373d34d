"""What is said of libraries that are not installed."""

import pickle
import re
import tomllib
from pathlib import Path

from jaxmrf.errors import EXTRAS, MissingExtraError

ROOT = Path(__file__).resolve().parent.parent


def test_extras_have_the_libraries_that_messages_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra, libraries in EXTRAS.items():
        required = project["optional-dependencies"][extra]
        assert tuple(re.match("[A-Za-z0-9-]+", line)[0] for line in required) == libraries


def test_a_missing_extra_is_one_line_that_installs_it():
    error = MissingExtraError("jaxmrf serve", "web")
    expected = (
        'jaxmrf serve needs starlette and uvicorn: pip install starlette uvicorn (the extra "web")'
    )
    assert str(error) == expected
    assert str(pickle.loads(pickle.dumps(error))) == expected  # Ray's actors send them so


def test_nothing_names_a_package_of_an_index_that_has_none():
    texts = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]
    for path in (*texts, *ROOT.glob("jaxmrf/**/*.py"), *ROOT.glob("weights/*.md")):
        text = path.read_text("utf-8")
        assert not re.search(r"(?<!jaxmrf @ )\bjaxmrf\[", text), path
        assert not re.search(r"pip install (-\S+ )*[\"']?jaxmrf\b", text), path
