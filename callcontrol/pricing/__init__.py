"""What calls cost: rate tables, packages, zones."""
