"""Who may use the API, what they did, and which of their requests were answered already."""
