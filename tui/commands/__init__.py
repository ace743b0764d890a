"""One file a group of commands; each `register`s itself with the Typer app."""
