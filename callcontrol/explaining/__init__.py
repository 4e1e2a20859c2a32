"""What would happen to a call, and what a change of the provisioning would do to those of the past (OPS-02)."""
