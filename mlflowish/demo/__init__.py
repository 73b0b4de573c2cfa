"""A pipeline as a user would write it, on real data: what `mlflowish demo` runs. Read `digits.py`."""
