"""Proof that the artifacts of a bundle compute what the torch original computes."""
