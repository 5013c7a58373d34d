"""Measures and prints a table, and writes it as JSON: python -m benchmarks.

    python -m benchmarks parts        # where an iteration's time goes
    python -m benchmarks run          # a whole transfer: time, memory, second start
    python -m benchmarks baseline     # against eager PyTorch (bench extra), to its energy

Pictures default to a pair in docs/images; --content and --style take others.
"""

import argparse
import json
import platform
from pathlib import Path

from benchmarks import convergence, parts, process
from jaxmrf import image, pyramid
from jaxmrf.config import Config

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


def main() -> None:
    """Parses the command line and runs the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", default=["parts", "run"])
    parser.add_argument("--content", type=Path, default=IMAGES / "nasa-astronaut-1993.jpg")
    parser.add_argument("--style", type=Path, default=IMAGES / "vangogh-pere-tanguy-1887.jpg")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=100, help="of the baseline, per level")
    parser.add_argument("--json", type=Path, default=None, help="write the results to this file")
    options = parser.parse_args()
    results = {"machine": platform.processor() or platform.machine(), "size": options.size}
    if "parts" in options.which:
        results["parts"] = _parts(options)
    if "run" in options.which:
        results["run"] = process.whole_runs(options.content, options.style, options.size)
    if "baseline" in options.which:
        results["baseline"] = convergence.compare(
            options.content, options.style, options.size, options.iterations
        )
    _print(results)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def _parts(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    content, style = (image.load(path).pixels for path in (options.content, options.style))
    shape = pyramid.fit(*content.shape[:2], options.size)
    pictures = [pyramid.resize(picture, shape) for picture in (content, style)]
    peak = parts.matmul_peak()
    found = {}
    for architecture in ("vgg16", "vgg19"):
        # The picture is half-way from content to style, as in the middle of a run.
        middle = (pictures[0] + pictures[1]) / 2
        measured = parts.measure(architecture, shape, Config(), (*pictures, middle))
        ideal = measured.pop("flops") / (peak * 1e9)
        measured["network at matmul speed"] = ideal
        measured["ideal over iteration"] = ideal / measured["iteration"]
        measured["share of matching"] = measured["matching fast"] / measured["iteration"]
        found[architecture] = measured
    return {"matmul": {"GFLOP/s": peak}, **found}


def _print(results: dict) -> None:
    for name, value in results.items():
        if isinstance(value, dict):
            print(f"{name}:")
            _print({f"  {key}": entry for key, entry in value.items()})
        else:
            print(f"{name:36} {value:.4g}" if isinstance(value, float) else f"{name:36} {value}")


if __name__ == "__main__":
    main()
