"""Calls that are explained, and what a change would have done to those of the past."""
