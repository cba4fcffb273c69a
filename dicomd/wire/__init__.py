"""Bytes to values and back, sans-I/O: upper layer, messages, multipart, data sets, media types."""
