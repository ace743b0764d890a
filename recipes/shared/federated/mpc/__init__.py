"""Computing on secret shares between owners."""
