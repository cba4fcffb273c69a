"""CPU work on pixels; no Twisted, runs in a worker."""
