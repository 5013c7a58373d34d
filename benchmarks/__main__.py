"""Measures and prints a table, and writes it as JSON: python -m benchmarks.

    python -m benchmarks parts        # where an iteration's time goes
    python -m benchmarks scaling      # seconds per iteration and megapixel over size
    python -m benchmarks run          # a whole transfer: time, memory, second start
    python -m benchmarks baseline     # against eager PyTorch (bench extra), to its energy
    python -m benchmarks lanes        # transfers side by side: lanes × devices
    python -m benchmarks many         # pairs a minute: transfer_many, and transfer in a loop
    python -m benchmarks batch        # jaxmrf batch over --lines lines: start, memory, second start
    python -m benchmarks rounding     # what rounding does to final energies, and lanes do
    python -m benchmarks page         # jaxmrf serve: from Start to the first pictures
    python -m benchmarks left         # jaxmrf serve: the time left that it tells, over the real one
    python -m benchmarks picture      # pairs × settings: measures, and a sheet to look at
    python -m benchmarks accelerator  # a GPU or TPU: peaks, the CPU's picture, seconds, lanes

Pictures default to a pair in docs/images; --content and --style take others.
"""

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax

from benchmarks import (
    accelerator,
    batch,
    convergence,
    lanes,
    page,
    parts,
    picture,
    process,
    rounding,
)
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.files import atomic, image
from jaxmrf.machine import device

CONFIGS = {
    "default": Config(),
    "style stride 2": Config(style_stride=2),
    "matches found in every iteration": Config(match_every=1),
}
LANES, DEVICES = [1, 2, 4, 8], [1, 2, 4, 8]
SIDES = [384, 512, 768, 1080, 1440]

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
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
    parser.add_argument("--seconds", type=float, default=480, help="accelerator's, to start parts")
    parser.add_argument("--lines", type=int, default=100_000, help="of batch")
    parser.add_argument("--pictures", type=int, default=100, help="that batch paints and times")
    parser.add_argument(
        "--batch-options", default=batch.LITTLE, metavar="OPTIONS", help="of jaxmrf batch"
    )
    parser.add_argument(
        "--small", action="store_true", help="a small accelerator run, as on every CPU"
    )
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="accelerator's parts by name"
    )
    parser.add_argument("--json", type=Path, default=None, help="write the results to this file")
    return parser


def main() -> None:
    """Parses the command line and runs the benchmarks."""
    options = parser().parse_args()
    if not {"baseline", "batch", "lanes", "many", "picture"} & set(
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
    if "many" in options.which:
        pictures = (image.load(path).pixels for path in (options.content, options.style))
        results["many"] = lanes.many(*pictures, options.size)
    if "batch" in options.which:
        words = options.batch_options.split()
        results["batch"] = batch.measure(options.lines, options.pictures, words)
    if "rounding" in options.which:
        content, style, _ = _pictures(options, (options.size, options.size))
        results["rounding"] = rounding.spread(content, style)
    if "page" in options.which:
        results["page"] = page.first_pictures(options.content, options.style, options.size)
    if "left" in options.which:
        sizes = (256, options.size)
        results["left"] = page.times_left(options.content, options.style, sizes)
    if "picture" in options.which:
        settings = picture.read_settings(options.settings)
        sized = {name: ["--size", str(options.size), *more] for name, more in settings.items()}
        picture.paint_all(
            picture.read_pairs(options.pairs), sized, options.out, starts=options.starts
        )
    _print(results)
    complete = True
    if "accelerator" in options.which:
        complete = _accelerator(options, results)
    _write(options.json, results)
    if not complete:
        sys.exit(1)


def _accelerator(options: argparse.Namespace, results: dict[str, Any]) -> bool:
    """Adds what an accelerator does to the results, part by part; returns whether none failed."""
    results["accelerator"] = {}

    def report(name: str, rows: dict[str, Any]) -> None:
        results["accelerator"][name] = rows
        _print({name: rows})
        _write(options.json, results)

    with tempfile.TemporaryDirectory() as folder:
        accelerator.set_up(Path(folder))
        small = options.small or jax.devices()[0].platform == "cpu"
        return accelerator.measure(
            accelerator.default_bench(options.content, options.style),
            accelerator.SMALL if small else accelerator.Extent(),
            seconds=options.seconds,
            only=options.only,
            report=report,
        )


def _write(path: Path | None, results: dict[str, Any]) -> None:
    if path is not None:
        with atomic.write(path) as file:
            file.write(json.dumps(results, indent=2).encode() + b"\n")


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
            text = f"{value:.4g}" if isinstance(value, float) else value
            print(f"{name:36} {text}", flush=True)


if __name__ == "__main__":
    main()
