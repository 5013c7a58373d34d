"""Runs the command line from a checkout: python cli.py transfer CONTENT STYLE."""

from jaxmrf.cli.app import main

if __name__ == "__main__":
    main()
