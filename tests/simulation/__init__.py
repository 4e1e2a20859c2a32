"""Deterministic simulation of a whole node: hours of traffic, loss and partitions from one seed."""
