"""One job, from files to a picture."""
