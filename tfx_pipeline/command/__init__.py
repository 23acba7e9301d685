"""The command `ulim`: a table of commands, and what finds the right one."""
