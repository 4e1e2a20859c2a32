"""Drivers for the tests of this folder: the server, softphones, SIPp, and scripted SIP endpoints.

Everything runs on loopback on free ports and is stopped by pid.  Nothing here is copied from a product: the
scripted endpoints are deliberately simple-minded, so that they do not share a mistake with the server.
"""
