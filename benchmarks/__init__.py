"""Speed as ratios measured in one run: ours, the obvious way, and the physical floor."""
