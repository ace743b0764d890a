"""What the aggregator cannot see: masks, shares and ciphertexts."""
