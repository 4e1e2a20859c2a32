"""The HTTP API: who may ask what, how it is answered, and the routes, one module per resource."""
