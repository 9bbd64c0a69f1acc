"""Scripts that measure the methods on photographs. Not part of the installed package; see README.md."""
