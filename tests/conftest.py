"""Its place puts this folder on the path: tests import the helpers that lie in it."""
