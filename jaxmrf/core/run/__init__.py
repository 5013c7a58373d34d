"""A whole run: its plan, its levels, its steps, one picture or many."""
