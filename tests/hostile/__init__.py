"""What strangers, scanners, guessers and broken phones do to the server."""
