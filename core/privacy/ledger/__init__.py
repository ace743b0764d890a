"""What every run reserved and spent of a data set's privacy budget."""
