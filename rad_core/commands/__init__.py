"""The commands of the command line: a module each, with HELP, add_arguments(parser) and run(options)."""
