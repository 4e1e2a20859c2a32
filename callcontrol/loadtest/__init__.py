"""The load generator that is shipped: ``cloudline loadtest``.  Calls or registrations at a steady rate, and a report."""
