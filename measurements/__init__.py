"""One-off measurements behind the numbers in docs/: `python -m measurements.NAME`, from the repository."""
