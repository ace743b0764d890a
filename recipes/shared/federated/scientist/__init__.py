"""The side that asks: it founds a federation and leads its rounds."""
