"""A model file from elsewhere: who can run it here, and a bundle made of it."""
