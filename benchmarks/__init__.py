"""Measurements, in CPU seconds; nothing here is a test. Results as JSON in benchmarks/results/."""
