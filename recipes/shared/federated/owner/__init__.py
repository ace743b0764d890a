"""The side that answers: it holds data, approves scripts and pays for privacy."""
