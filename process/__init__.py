"""The system's side of any server: listeners, children, sandbox, signals, reports."""
