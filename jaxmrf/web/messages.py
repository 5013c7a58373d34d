"""What the server and the process that computes tell each other: a line of JSON each."""

from typing import Literal, TypedDict

EndState = Literal["finished", "stopped", "canceled", "failed"]

# To the process that computes.


class Setup(TypedDict):
    """The first line.

    Attributes:
      weights: file that takes the place of all weights; None: those of the machine.
      device: kind of the device; None: the best.
      lanes: runs that are computed side by side; None: what suits the device.
    """

    weights: str | None
    device: str | None
    lanes: int | None


class Painting(TypedDict):
    """What has to be known of a run to compute it.

    Attributes:
      id: of the run.
      values: options that were chosen, as text.
      inputs: paths of its pictures by what they are for, see `runs.ROLES`.
      titles: what the result calls these, by path.
      output: path of the result.
      preview: path of the picture so far.
      advise: whether to say what may help where pictures do not go together.
      rate: seconds per unit of cost of earlier runs; None: there were none.
    """

    id: str
    values: dict[str, str]
    inputs: dict[str, list[str]]
    titles: dict[str, str]
    output: str
    preview: str
    advise: bool
    rate: float | None


class Order(TypedDict):
    """Runs to compute side by side, or one to get ready for.

    Attributes:
      do: ``quick`` goes before ``run``, and both before ``prepare``, which compiles what such
        a run starts with.
      runs: these; they have the same programs.
    """

    do: Literal["quick", "run", "prepare"]
    runs: list[Painting]


class Cancel(TypedDict):
    """A run that is to end after its iteration."""

    do: Literal["cancel"]
    id: str


# To the server.


class Ready(TypedDict):
    """The first line.

    Attributes:
      told: what this is.
      lanes: runs that an order may have.
    """

    told: Literal["ready"]
    lanes: int


class Compiling(TypedDict):
    """A run that waits for programs; told twice a second as long as it lasts.

    Attributes:
      told: what this is.
      id: of the run.
      ready_in: seconds until what its level needs is compiled, by earlier runs; None: not known.
    """

    told: Literal["compiling"]
    id: str
    ready_in: float | None


class Position(TypedDict):
    """How far a run is: the fields of `runs.Run` of these names."""

    level: int
    levels: int
    decoded: int
    iteration: int
    iterations: int
    picture: int
    seconds: float
    done: float
    left: float | None
    rate: float | None


class Progress(TypedDict):
    """The start of a level, a round of the decoder, or an iteration.

    Attributes:
      told: what this is.
      id: of the run.
      position: how far it is.
      energy: of the picture; None before the first iteration of a level.
    """

    told: Literal["progress"]
    id: str
    position: Position
    energy: float | None


class Advice(TypedDict):
    """What may help where pictures do not go together."""

    told: Literal["advice"]
    id: str
    text: str


class Turn(TypedDict):
    """A run that stops for a quick one, and goes on after it."""

    told: Literal["paused", "resumed"]
    id: str


class End(TypedDict):
    """The end of a run.

    Attributes:
      told: what this is.
      id: of the run.
      state: one of `runs.ENDED`.
      message: what went wrong, for people; "" if nothing.
      control: name of the control that can mend it; "" if none can.
      lanes: lanes of its device that it was one of.
    """

    told: Literal["end"]
    id: str
    state: EndState
    message: str
    control: str
    lanes: int


Told = Ready | Compiling | Progress | Advice | Turn | End
