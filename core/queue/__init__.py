"""Who may use which device, and what of it a run is given."""
