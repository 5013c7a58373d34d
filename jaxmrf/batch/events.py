"""How a batch runs, and what it tells on its way."""

import dataclasses
from typing import Any

from jaxmrf.batch.lines import Line
from jaxmrf.side_by_side import check_number


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """How a batch runs.

    Attributes:
      lanes: transfers that run at once; None: as many as the memory estimate allows.
      bucket: sides are rounded up to a multiple of this to share programs; 1: not.
      checkpoint_every: iterations between saved states of the lanes in flight; 0: none.
      retry: run again what failed before.
    """

    lanes: int | None = None
    bucket: int = 1
    checkpoint_every: int = 0
    retry: bool = False

    def __post_init__(self) -> None:
        for name, least in (("lanes", 1), ("bucket", 1), ("checkpoint_every", 0)):
            check_number(name, getattr(self, name), least)


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened to a line: ``done``, ``failed`` or ``skipped``.

    Attributes:
      kind: what happened.
      line: to which line.
      record: what the ledger has about it.
    """

    kind: str
    line: Line
    record: dict[str, Any]
