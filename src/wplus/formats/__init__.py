"""Foreign model files, read safely: a file goes in, tensors under our names and settings come out.

No module here builds a network, and none runs anything that a file brings along.
"""
