"""Many jobs: read, grouped, run, recorded."""
