"""What a model is: bundles; where they come from (`intake`, `making`, `catalog`), what is in them (`reading`), `proof`."""
