"""The parts of a node put together, a module for each kind of part; ``callcontrol.app`` says when, and in which order."""
