"""The models: a list of them, the forms that make and serve them."""
