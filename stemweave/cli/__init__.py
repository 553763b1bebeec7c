"""The command line: options in, one sentence out when something is wrong."""
