"""What the commands share: the door (`cli`), settings and presets, runs, held-out data, results."""
