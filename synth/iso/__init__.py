"""ISO 9660 images, computed on demand: Rock Ridge, Joliet, El Torito, hybrid."""
