"""Disk and SQL; plain blocking functions, no Twisted."""
