"""Measured lower bounds on epsilon, beside the accountant's upper bound."""
