"""Public fakes, and checks that an implementation keeps a contract: for the tests of whoever extends edge_vision."""
