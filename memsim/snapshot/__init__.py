"""A real machine's memory as /proc and /sys show it, live or in a folder of copies."""
