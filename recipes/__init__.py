"""Training scripts, each read in one sitting, and in `shared` what they have in common."""
