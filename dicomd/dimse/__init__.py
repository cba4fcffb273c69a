"""The DIMSE door (PS3.7, PS3.8)."""
