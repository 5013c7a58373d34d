"""Runs the command line: python -m jaxmrf transfer CONTENT STYLE."""

from jaxmrf.cli import main

if __name__ == "__main__":
    main()
