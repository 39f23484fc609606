"""`hearth flash`: from a compressed image to a card that is known to hold it."""
