"""The page of `jaxmrf serve`: pictures in, a queue of runs, one process that computes."""
