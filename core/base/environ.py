"""The environment variables that traindeck reads and sets."""

HOME = "TRAINDECK_HOME"  # where everything is kept
RUN_FOLDER = "TRAINDECK_RUN_FOLDER"  # set for a run: where it logs to
DEVICE = "TRAINDECK_DEVICE"  # set for a run: cpu, gpu or tpu
SUPERVISOR = "TRAINDECK_SUPERVISOR"  # set for a supervisor and what it forks, never for a run
RANK = "TRAINDECK_RANK"  # set for one of several processes that train one run: which it is
