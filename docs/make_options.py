"""Writes the table of all options into docs/guide.md: python docs/make_options.py."""

from pathlib import Path

from jaxmrf.jobs.option_table import as_markdown

GUIDE = Path(__file__).resolve().parent / "guide.md"
BEGIN, END = "<!-- options: python docs/make_options.py -->\n", "<!-- end of options -->\n"


def main() -> None:
    """Puts the table between its two marks."""
    before, _, rest = GUIDE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    GUIDE.write_text(f"{before}{BEGIN}\n{as_markdown()}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
