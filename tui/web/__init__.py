"""The app in a browser: a server on this machine, and a process of the app for each page."""
