"""Privacy: what a run may give away, and what it has.

The names of files stand here, for who needs no more of it: the supervisor starts with each run.
"""

PLAN_FILE = "privacy.json"
"""In a run's folder: its plan (`plan.Plan`)."""
AUDIT_FILE = "audit.npz"
"""In a run's artifacts: the scores of its canaries (`audit.measure.Scores`)."""
