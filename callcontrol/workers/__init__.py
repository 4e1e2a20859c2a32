"""Several processes on one machine that are one node; see README.md."""
