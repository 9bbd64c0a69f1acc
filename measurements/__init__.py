"""One-off measurements behind the numbers in docs/: run each as `python -m measurements.NAME` from the repository."""
