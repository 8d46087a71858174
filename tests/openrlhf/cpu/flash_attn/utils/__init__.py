"""Package of the module below."""
