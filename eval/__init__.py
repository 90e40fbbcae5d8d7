"""Measurements: protocols on known scenes, and the numbers they report."""
