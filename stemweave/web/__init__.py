"""The studio: a page and an HTTP API over the same functions as the command line."""
