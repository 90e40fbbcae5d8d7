"""Readers of part data sets: each makes a `PartObject` of what it finds."""
