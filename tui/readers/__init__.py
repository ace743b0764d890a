"""What screens read, on threads: immutable values, never widgets."""
