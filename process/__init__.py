"""What any server needs of the system: listeners, children, sandbox, signals, reports."""
