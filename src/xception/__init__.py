"""Xception as facts, without a framework: its block table, its weights, which layers train when."""
