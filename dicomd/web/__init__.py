"""The HTTP door (PS3.18)."""
