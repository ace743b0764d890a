"""The environment variables that traindeck reads and sets."""

HOME = "TRAINDECK_HOME"  # where everything is kept
RUN_FOLDER = "TRAINDECK_RUN_FOLDER"  # set for a run: where it logs to
DEVICE = "TRAINDECK_DEVICE"  # set for a run: cpu, gpu or tpu
