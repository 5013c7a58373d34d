"""Every code block of the documents runs as it is pasted into a fresh clone.

The language of a block says what it is: `sh` and `python` are run, all of a page in one shell and
in one session; `bash` and `yaml` are for other machines, and their commands of jaxmrf are parsed.

The fast tests run in this process and leave out what takes the time: instead of `iterate` there is
a grey picture, instead of a batch its plan, instead of an inspection its inputs. Files are read and
written, options and settings are checked as they stand. The slow tests run all commands as
programs, with the options of `SMALL` behind those that paint (the last value of an option counts),
and Python with smaller sizes.
"""

import contextlib
import functools
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from inspect import signature
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import typer.main

from benchmarks import __main__ as benchmarks
from jaxmrf import api, planning, side_by_side
from jaxmrf.analysis import label_coverage
from jaxmrf.batch import groups
from jaxmrf.cli import app
from jaxmrf.cli import batch as batch_command
from jaxmrf.core import energy
from jaxmrf.core.run.lanes import Stage
from jaxmrf.core.run.progress import NOTHING_SEEN, Progress
from jaxmrf.inspection import curves, inspect
from jaxmrf.jobs import inputs, options, paint
from jaxmrf.machine import memory
from jaxmrf.networks import weights
from tests import shell

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"sh", "python", "bash", "yaml", "text", "{eval-rst}", "{toctree}"}

NOT_RUN = {
    "python3 -m venv": "makes an environment; .ci/run does it by the README",
    "git clone": "REPOSITORY stands for an address",
    ".venv/bin/": "is in the environment of a clone",
    "pip ": "needs the network",
    "docker ": "needs Docker and the network",
    ".ci/run": "runs these tests, among others",
    "jaxmrf weights fetch": "needs the network; tests/test_fetch.py",
    "jaxmrf weights convert": "needs a file of 80 MB; tests/test_formats.py",
    "jaxmrf batch pairs.jsonl --out painted --engine ray": "needs Ray; tests/test_ray.py",
    "python weights/train_decoder.py": "takes an hour; tests/test_decoder.py",
    "python -m benchmarks": "takes minutes; tests/test_benchmarks.py",
}
"""Beginnings of the commands that are not run here, and why. Those of jaxmrf are parsed."""

SMALL = {
    "transfer": "--size 96 --iterations 1",
    "synthesize": "--size 96x96 --iterations 1",
    "sweep": "--size 96 --iterations 1",
    "batch": "--size 96 --iterations 1",
    "inspect": "--size 32 --iterations 1",
}


def blocks(page, *languages):
    found = BLOCK.findall(page.read_text("utf-8"))
    return [text for language, text in found if language in languages]


def commands(page):
    """Returns the lines of a page's shell blocks, continued ones as one, without comments."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if not line.startswith("#")]


def script(page):
    return "\n".join(line for line in commands(page) if not line.startswith(tuple(NOT_RUN)))


def pages_with(language):
    return [pytest.param(page, id=page.stem) for page in PAGES if blocks(page, language)]


def lines_of_jaxmrf():
    """Returns the words behind `jaxmrf` of all commands that are not run."""
    for page in PAGES:
        not_run = [line for line in commands(page) if line.startswith(tuple(NOT_RUN))]
        text = "\n".join((*not_run, *blocks(page, "bash", "yaml")))
        text = re.sub(r"\$\(\(.*?\)\)|\$\w+", "1", text)  # what is computed where it runs
        for found in re.findall(r"(?:^|[\s/])jaxmrf ([a-z][^'&|;\n]*(?:\s+--[^'&|;\n]*)?)", text):
            yield pytest.param(shlex.split(found, comments=True), id=f"{page.stem}-{found[:30]}")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Returns a folder that looks like a fresh clone; what is written there stays there."""
    for folder in ("benchmarks", "docs", "tests/cases", "weights"):
        for path in (path for path in (ROOT / folder).rglob("*.*") if path.is_file()):
            place = tmp_path / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unpainted(monkeypatch):
    """Lets everything run but what takes the time."""

    def iterate(content, style, shape, config, *, network=None, on_plan=None, **more):
        styles = [style] if isinstance(style, np.ndarray) else style
        planned = planning.plan_run(
            shape,
            [picture.shape[:2] for picture in styles],
            config,
            network or weights.load().network,
            has_content=content is not None,
            has_start=more.get("initial") is not None,
        )
        if on_plan is not None:
            on_plan(planned)
        seen = {**NOTHING_SEEN, "value": 1.0, "terms": {"mrf": 1.0}}
        yield Progress(
            level=0, levels=1, iteration=1, iterations=1, decoded=0,
            image=jnp.full((*shape, 3), 0.5), original=None, mask=None, shape=shape,
            config=planned.settings.config, **seen,
        )  # fmt: skip

    def run(ready, key, network, *, count, **more):
        shape, iterations = key.plan.shapes[-1], key.plan.iterations[-1]
        images, numbers = jnp.full((count, *shape, 3), 0.5), np.ones(count, np.float32)
        good = np.ones(count, bool)
        level = len(key.plan.shapes) - 1
        yield Stage(
            level, key.rounds, iterations, images, numbers, {"mrf": numbers}, numbers, good, good
        )

    def run_locally(lines, ledger, loaded, batch_options, *, kept=True):
        groups.group(lines, loaded, batch_options.bucket, refuse)
        return 0

    def refuse(line, error):
        raise error

    def write_report(request, loaded, **_):
        inputs.load(inspect.job_of(request))
        curves.read(request.trace)

    monkeypatch.setattr(api, "iterate", iterate)
    monkeypatch.setattr(side_by_side, "run", run)
    monkeypatch.setattr(batch_command, "run_locally", run_locally)
    monkeypatch.setattr(inspect, "write_report", write_report)
    monkeypatch.setattr(memory, "fit", lambda network, *_, **__: network)
    monkeypatch.setattr(label_coverage, "unmatched", lambda *_: {})
    monkeypatch.setattr(paint, "is_worth_a_forecast", lambda *_: False)
    # One program is compiled sooner than one of each operation.
    prepare = jax.jit(energy.prepare, static_argnames=("shape", "program"))
    monkeypatch.setattr(energy, "prepare", prepare)
    monkeypatch.setattr(weights, "load", functools.cache(weights.load))


def python(call):
    """Runs the program that writes a list; of others it sees that they take these words."""
    program, *words = call.words
    main = runpy.run_path(program)["main"]
    if program != "docs/examples/make_manifest.py":
        signature(main).bind(*words)
        return shell.Answer()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(*words)
    return shell.Answer(printed.getvalue().encode())


def run_session(page, change=lambda code: code):
    """Runs the blocks of Python of a page, with changes to their text."""
    session = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile(change(block), str(page), "exec"), session)
    return session


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_what_it_is(page):
    text = page.read_text("utf-8")
    assert {language for language, _ in BLOCK.findall(text)} <= LANGUAGES
    outside = BLOCK.sub("", text)
    assert "```" not in outside
    assert not re.search(r"^(    |\t)\$? ?(jaxmrf|python|pip|git|docker) ", outside, re.MULTILINE)


def test_what_is_not_run_is_written_somewhere():
    lines = [line for page in PAGES for line in commands(page)]
    for beginning in NOT_RUN:
        assert any(line.startswith(beginning) for line in lines), beginning


@pytest.mark.parametrize(
    "line",
    [
        "jaxmrf transfer docs/images/coffee-cc0.jpg docs/images/coffee.jpg",
        "jaxmrf transfer docs/images/coffee-cc0.jpg --no-such-option",
        "cat no-such-file | jaxmrf show-config -",
        "python docs/examples/own_matcher.py",
        "no-such-program",
    ],
)
def test_a_command_that_cannot_be_pasted_is_noticed(line, clone, unpainted, own_parts):
    with pytest.raises(AssertionError, match=re.escape(line.partition(" |")[0])):
        shell.run(f"{line}\ntrue", clone, {"jaxmrf": shell.jaxmrf, "python": python})


@pytest.mark.parametrize("page", pages_with("sh"))
def test_commands_can_be_pasted(page, clone, unpainted, own_parts):
    shell.run(script(page), clone, {"jaxmrf": shell.jaxmrf, "python": python})


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_can_be_pasted(page, clone, unpainted, own_parts, capsys):
    names = run_session(page)
    if page.stem == "research":
        check_transformations(names)
        assert "(2, 22, 22) patches, mean cosine" in capsys.readouterr().out


def check_transformations(names):
    """What docs/research.md differentiates and maps is right."""
    value, network, picture, content, factors = (
        names[name] for name in ("value", "network", "picture", "content", "term_weights")
    )
    slope = np.linalg.norm(names["by_picture"])
    direction, step = names["by_picture"] / slope, 0.01
    higher, lower = (
        names["energy_of"](network, picture + way * direction, content, factors)
        for way in (step, -step)
    )
    np.testing.assert_allclose((higher - lower) / (2 * step), slope, rtol=0.05)
    # The energy is linear in its weights, of which those of the terms are three.
    by_weights = names["by_weights"]
    parts = [by_weights.content * factors.content, by_weights.tv * factors.tv]
    parts += [by_weights.style[name] * weight for name, weight in factors.style.items()]
    np.testing.assert_allclose(sum(parts), value, rtol=1e-4)
    np.testing.assert_allclose(names["of_each"][0], value, rtol=1e-4)
    np.testing.assert_allclose(names["of_contents"][1], value, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("sh"))
def test_commands_do_what_they_say(page, clone, tmp_path_factory):
    place = tmp_path_factory.mktemp("programs")
    more = "\n".join(f'{name}) set -- "$@" {options};;' for name, options in SMALL.items())
    program(place / "python", f'exec {sys.executable} "$@"')
    program(place / "jaxmrf", f'case "$1" in\n{more}\nesac\nexec python {ROOT}/cli.py "$@"')
    subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script(page)],
        env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        check=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("python"))
def test_python_does_what_it_says(page, clone, own_parts):
    run_session(page, lambda code: re.sub(r"\bsize=\d+", "size=64", code))


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o700)


@pytest.mark.parametrize("words", list(lines_of_jaxmrf()))
def test_commands_that_are_not_run_are_parsed(words):
    command, name = typer.main.get_command(app.app), "jaxmrf"
    while words and words[0] in getattr(command, "commands", {}):
        name, *words = words
        command = command.commands[name]
    context = command.make_context(name, list(words))
    if name == "batch":  # whose other options are those of transfer
        texts = options.from_arguments(context.args, batch_command.known(context))[1]
        options.job({**texts, "style": "style.png", "content": "content.png", "output": "a.png"})


def test_benchmarks_are_called_as_they_are():
    lines = [line for page in PAGES for line in commands(page)]
    for line in filter(lambda line: line.startswith("python -m benchmarks"), lines):
        chosen = benchmarks.parser().parse_args(shlex.split(line, comments=True)[3:])
        for name in chosen.which:
            assert f"python -m benchmarks {name} " in str(benchmarks.__doc__)
