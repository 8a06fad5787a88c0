"""Reading host files so that a byte is the byte of the scan, or an error."""
