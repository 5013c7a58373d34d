"""The version of jaxmrf, which pyproject.toml, pictures and ledgers read here."""

__version__ = "0.2.0"
