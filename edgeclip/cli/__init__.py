"""The command line: one file per subcommand, each parses, makes one library call, and prints."""
