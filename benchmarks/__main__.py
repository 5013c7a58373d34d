"""Measures and prints a table, and writes it as JSON: python -m benchmarks.

    python -m benchmarks parts        # where an iteration's time goes
    python -m benchmarks scaling      # seconds per iteration and megapixel over size
    python -m benchmarks run          # a whole transfer: time, memory, second start
    python -m benchmarks baseline     # against eager PyTorch (bench extra), to its energy
    python -m benchmarks lanes        # transfers side by side: lanes × devices
    python -m benchmarks rounding     # what rounding does to final energies, and lanes do
    python -m benchmarks page         # jaxmrf serve: from Start to the first pictures
    python -m benchmarks picture      # pairs × settings: measures, and a sheet to look at

Pictures default to a pair in docs/images; --content and --style take others.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

from benchmarks import convergence, lanes, page, parts, picture, process, rounding
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.files import image
from jaxmrf.machine import device

CONFIGS = {
    "default": Config(),
    "style stride 2": Config(style_stride=2),
    "matches found in every iteration": Config(match_every=1),
}
LANES, DEVICES = [1, 2, 4, 8], [1, 2, 4, 8]
SIDES = [384, 512, 768, 1080, 1440]

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


def main() -> None:
    """Parses the command line and runs the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", default=["parts", "run"])
    parser.add_argument("--content", type=Path, default=IMAGES / "nasa-astronaut-1993.jpg")
    parser.add_argument("--style", type=Path, default=IMAGES / "vangogh-pere-tanguy-1887.jpg")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=100, help="of the baseline, per level")
    parser.add_argument("--pairs", type=Path, default=picture.DEFAULT_PAIRS, help="of picture")
    parser.add_argument(
        "--settings",
        nargs="+",
        default=["quick=--preset quick", "default=", "fine=--preset fine"],
        metavar="NAME=OPTIONS",
        help="of picture: options of jaxmrf transfer, beside --size",
    )
    parser.add_argument("--starts", type=int, default=2, choices=(1, 2), help="of picture")
    parser.add_argument("--out", type=Path, default=Path("sheet"), help="folder of picture")
    parser.add_argument("--json", type=Path, default=None, help="write the results to this file")
    options = parser.parse_args()
    if not {"baseline", "lanes", "picture"} & set(
        options.which
    ):  # neither PyTorch nor a batch does
        device.keep_freed_memory()  # as `jaxmrf transfer` does
    results = {"machine": platform.processor() or platform.machine(), "size": options.size}
    if "parts" in options.which:
        results["parts"] = _parts(options)
    if "scaling" in options.which:
        results["scaling"] = parts.scaling(
            Config(), SIDES, lambda side: _pictures(options, (side, side))
        )
    if "run" in options.which:
        results["run"] = process.whole_runs(options.content, options.style, options.size)
    if "baseline" in options.which:
        results["baseline"] = convergence.compare(
            options.content, options.style, options.size, options.iterations
        )
    if "lanes" in options.which:
        content, style, _ = _pictures(options, (options.size, options.size))
        results["lanes"] = lanes.throughput(content, style, LANES, DEVICES)
    if "rounding" in options.which:
        content, style, _ = _pictures(options, (options.size, options.size))
        results["rounding"] = rounding.spread(content, style)
    if "page" in options.which:
        results["page"] = page.first_pictures(options.content, options.style, options.size)
    if "picture" in options.which:
        settings = picture.read_settings(options.settings)
        sized = {name: ["--size", str(options.size), *more] for name, more in settings.items()}
        picture.paint_all(
            picture.read_pairs(options.pairs), sized, options.out, starts=options.starts
        )
    _print(results)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def _parts(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    content = image.load(options.content).pixels
    pictures = _pictures(options, pyramid.fit(*content.shape[:2], options.size))
    peak = parts.matmul_peak()
    found = {"machine": {"matrix product, GFLOP/s": peak, **parts.convolution_peaks(options.size)}}
    for architecture in ("vgg16", "vgg19"):
        for name, config in CONFIGS.items():
            measured = parts.measure(architecture, config, pictures)
            ideal = measured.pop("network FLOPs") / (peak * 1e9)
            measured["network at the speed of the matrix product"] = ideal
            measured["that over the iteration"] = ideal / measured["iteration, mean"]
            found[f"{architecture}, {name}"] = measured
    return found


def _pictures(options: argparse.Namespace, shape: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Returns content, style, and a picture half-way between them, of one shape."""
    loaded = (image.load(path).pixels for path in (options.content, options.style))
    content, style = (pyramid.resize(picture, shape) for picture in loaded)
    return content, style, (content + style) / 2


def _print(results: dict) -> None:
    for name, value in results.items():
        if isinstance(value, dict):
            print(f"{name}:")
            _print({f"  {key}": entry for key, entry in value.items()})
        else:
            print(f"{name:36} {value:.4g}" if isinstance(value, float) else f"{name:36} {value}")


if __name__ == "__main__":
    main()
