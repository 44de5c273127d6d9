"""The images on which a run is scored, and how its network answers them."""
