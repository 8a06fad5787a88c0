"""Trees: what a scan found, in columns."""
