"""Bodies, both ways: sent again, read whole, resumed."""
