"""Starts the command line: python -m jaxmrf transfer CONTENT STYLE."""

import signal


def main() -> None:
    """Runs the command line; the console script `jaxmrf`.

    The libraries take a second to load. Ctrl-C ends the process then as it ends programs that do
    not wait for it, without a traceback of what was being imported.
    """
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


if __name__ == "__main__":
    main()
