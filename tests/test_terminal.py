"""What is shown on terminals: the bar of a run, and what is said beside it."""

import io
import os
import signal
import sys

import jax
import pytest
import typer
from rich.console import Console
from rich.file_proxy import FileProxy

from jaxmrf import __main__
from jaxmrf.cli import app, progress, terminal
from jaxmrf.machine.compilation import Ongoing


class Compiling:
    """Stands for `Compilation`."""

    def __init__(self, ongoing):
        self._ongoing = ongoing

    def ongoing(self):
        return self._ongoing


def drawn(width, ongoing):
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bar = progress.progress_bar(screen, Compiling(ongoing))
    bar.add_task("level 2/3 iteration 14/100", terms="content 0.1 mrf 1.5 tv 0.03", total=10)
    screen.print(bar.get_renderable())
    return screen.file.getvalue().rstrip().splitlines()


@pytest.mark.parametrize(
    ("ongoing", "said"),
    [
        (None, ""),
        (Ongoing(3.0, None), "compiling"),
        (Ongoing(3.0, 18.0), "compiling, 20 seconds left"),
    ],
)
def test_on_a_narrow_terminal_position_bar_and_time_stay_on_one_line(ongoing, said):
    (line,) = drawn(62, ongoing)
    assert line.startswith("level 2/3 iteration 14/100")
    assert line.endswith(said)
    assert "mrf" not in line


def test_on_a_wide_terminal_there_are_the_terms():
    (line,) = drawn(130, Ongoing(3.0, 18.0))
    assert "content 0.1 mrf 1.5 tv 0.03" in line


def test_a_dumb_terminal_gets_lines(monkeypatch):
    for name, bars in (("xterm", True), ("dumb", False)):
        screen = Console(force_terminal=True, _environ={"TERM": name})
        monkeypatch.setattr(terminal, "console", screen)
        assert terminal.shows_bars() == bars


def test_what_is_said_while_a_bar_is_drawn_is_said_once(monkeypatch):
    """Then rich sends whatever goes to standard error to the console, which writes there."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", FileProxy(terminal.console, written))
    terminal.say("hello")
    assert written.getvalue() == "hello\n"


def test_a_closed_standard_error_is_no_fault(monkeypatch):
    class Closed(io.StringIO):
        def write(self, *_):
            raise BrokenPipeError

        flush = write

    monkeypatch.setattr(sys, "stderr", Closed())
    terminal.say("nobody hears it")


@pytest.mark.parametrize("error", [MemoryError(), None])
def test_memory_that_runs_out_is_one_line(error, capsys):
    error = error or jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    with pytest.raises(terminal.typer.Exit) as end, terminal.user_errors():
        raise error
    assert end.value.exit_code == 2
    assert "not enough memory" in capsys.readouterr().err


def test_a_second_ctrl_c_while_python_cleans_up_says_nothing(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(app, "main", lambda: sys.exit(130))
    try:
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        assert ended.value.code == 130
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def no_reader():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(
    ("opened", "code", "said"),
    [
        (no_reader, 1, ""),
        (
            lambda: os.open("/dev/full", os.O_WRONLY),
            2,
            "error: standard output: No space left on device\n",
        ),
    ],
)
def test_output_that_cannot_be_written_is_told_before_python_does(
    monkeypatch, capsys, opened, code, said
):
    group = typer.Typer(cls=terminal.Group)
    group.callback()(lambda: None)
    group.command("print")(lambda: sys.stdout.writelines(["words"]))
    with open(opened(), "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(SystemExit) as ended:
            group(["print"])
        monkeypatch.undo()
    assert ended.value.code == code
    assert capsys.readouterr().err == said


def test_streams_that_the_caller_closed_lead_nowhere(monkeypatch):
    names = ("stdin", "stdout", "stderr")
    for name in names:
        monkeypatch.setattr(sys, name, None)
    __main__.open_closed_streams()
    opened = [getattr(sys, name) for name in names]
    assert sys.stdin.read() == ""
    for stream in (sys.stdout, sys.stderr):
        stream.write("words \udcff")  # the name of a file may be no text
    monkeypatch.undo()
    for stream in opened:
        stream.close()
    __main__.open_closed_streams()
    assert sys.stdin not in opened  # what is open stays
