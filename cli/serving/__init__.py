"""The parts of `vfloppy serve` beside its options: exports, listeners, logs."""
