"""Runs the command line from a checkout: python cli.py transfer CONTENT STYLE."""

from jaxmrf.__main__ import main

if __name__ == "__main__":
    main()
