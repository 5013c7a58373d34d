"""The energy and its terms over the iterations of a run, from its trace to a PNG file."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmrf.errors import ConfigError, MissingExtraError

SIZE, DOTS_PER_INCH = (8.0, 4.5), 120


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the records of a trace, see `Job.trace`.

    Raises:
      ConfigError: if the file cannot be read, holds none, or something else.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read the trace {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path} is no trace of jaxmrf: not text") from None
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(f"line {number} of {path} is no record of a trace") from None
    if not records:
        raise ConfigError(f"the trace {path} is empty")
    return records


def check_library() -> None:
    """Checks before a long run that curves can be drawn.

    Raises:
      MissingExtraError: if the library that draws them is not installed.
    """
    try:
        import matplotlib.backends.backend_agg  # noqa: F401
    except ImportError:
        raise MissingExtraError("the picture of the energy", "inspect") from None


def series(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Returns the energy, as ``energy``, and its weighted terms by name, one per record.

    A term that a record lacks is not a number there.
    """
    names = dict.fromkeys(name for record in records for name in record["terms"])
    curves = {"energy": [record["energy"] for record in records]}
    for name in names:
        curves[name] = [record["terms"].get(name, float("nan")) for record in records]
    return curves


def draw(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns a PNG file with all curves; a line and its number where a level starts.

    Raises:
      MissingExtraError: if the library that draws them is not installed.
    """
    check_library()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DOTS_PER_INCH, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    iterations = range(1, len(records) + 1)
    for name, values in series(records).items():
        total = name == "energy"
        style: dict[str, Any] = {"color": "black", "linewidth": 2} if total else {"linewidth": 1.4}
        # A term of weight 0 has no place on a logarithmic scale.
        if any(value > 0 for value in values):
            axes.plot(iterations, values, label=name, **style)
    for index, record in enumerate(records):
        if index == 0 or record["level"] != records[index - 1]["level"]:
            axes.axvline(index + 0.5, color="0.7", linewidth=0.8, zorder=0)
            place = (index + 0.5, 0.99)
            axes.annotate(
                f" level {record['level']}",
                place,
                xycoords=("data", "axes fraction"),
                va="top",
                fontsize=8,
                color="0.4",
            )
    axes.set_yscale("log", nonpositive="mask")
    axes.set(xlabel="iteration, over all levels", ylabel="weighted energy")
    axes.margins(x=0.01)
    axes.grid(axis="y", color="0.9", zorder=0)
    figure.legend(loc="outside right upper", frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _record(line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "level": int(line["level"]),
        "energy": float(line["energy"]),
        "terms": {name: float(value) for name, value in line["terms"].items()},
    }
