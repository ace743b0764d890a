"""What starts a run somewhere. The supervisor always runs beside the run."""
