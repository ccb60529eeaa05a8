"""What the shells complete: scripts for bash, zsh and fish, made from the commands themselves.

Each script holds one table of all words and a short function that reads it, so completing starts no process.
"""
