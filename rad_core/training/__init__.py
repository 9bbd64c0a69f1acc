"""Training: data, objectives, the loop, its log and samples."""

OPTIMISERS = ("adamw", "adamw8bit")  # by name; here, where asking for them imports nothing of what trains
