"""The server as a user starts it: its own process, real softphones, SIPp, real sockets."""
