"""Which policy is best for a price, learned from graded answers."""
