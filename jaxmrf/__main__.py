"""Runs the command line: python -m jaxmrf transfer CONTENT STYLE."""

from jaxmrf.cli.app import main

if __name__ == "__main__":
    main()
