"""The routes, one module per resource; each has ``add_to(api, services, sight)``."""
