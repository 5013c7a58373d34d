"""Inspections: what a run did, in pictures."""
