"""What `vfloppy serve` needs beside its options: exports, listeners, logs."""
