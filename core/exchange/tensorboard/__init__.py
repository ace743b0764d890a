"""TensorBoard's event files: records, their checksums, and the scalars in them."""
