"""Reproducible load against Cloudline and two peers, and microbenchmarks of the core (see README.md)."""
