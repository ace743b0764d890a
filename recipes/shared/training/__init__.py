"""What training scripts share: data, checkpoints and what they need to run."""
