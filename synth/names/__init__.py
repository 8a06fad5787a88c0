"""Names as readers compare them: case and composed characters."""
