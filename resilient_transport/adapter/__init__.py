"""The face to requests: `ResilientAdapter`, and requests' pool hooks."""
