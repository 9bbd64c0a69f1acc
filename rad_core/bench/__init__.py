"""The benchmark: every method on the same networks, pictures and holes."""
