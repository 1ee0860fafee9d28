"""What a model is: bundles, and everything about them.

`reading` says what a file is, `proof` whether it sees; `intake`, `making` and `catalog` are where bundles come from.
"""
