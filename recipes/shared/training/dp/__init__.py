"""DP-SGD: clipped gradients, noise, sampling, canaries, for both frameworks."""
