"""Outgoing calls counted: minutes and callees of a month, calls at the same time, calls a minute."""
