"""Live state in Redis: what another node, or this one after a restart, needs to go on (LIVE-01 to LIVE-03)."""
