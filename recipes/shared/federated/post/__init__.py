"""How messages travel: PySyft's folders, mail in them, and arrays on the wire."""
