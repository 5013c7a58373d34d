"""The run-time type checker of the tests: beartype, an int passing for a float."""

from beartype import BeartypeConf, beartype

checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
