"""Single files, in and out."""
