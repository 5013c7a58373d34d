"""Starts the command line: python -m jaxmrf transfer CONTENT STYLE."""

import os
import signal
import sys


def main() -> None:
    """Runs the command line; the console script `jaxmrf`.

    The libraries take a second to load. Ctrl-C ends the process then as it ends programs that do
    not wait for it, without a traceback of what was being imported.
    """
    open_closed_streams()
    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from jaxmrf.cli.app import main as run

    signal.signal(signal.SIGINT, before)
    try:
        run()
    finally:
        # All is said and saved: a second Ctrl-C would be a traceback of what Python cleans up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def open_closed_streams() -> None:
    """Opens the standard streams that the caller has closed, as `2>&-` does, to nowhere.

    Else the next files that are opened take their numbers, and what libraries print goes there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            # As Python has it of standard error: names of files may be no text.
            setattr(sys, name, os.fdopen(nowhere, mode, errors="backslashreplace"))


if __name__ == "__main__":
    main()
