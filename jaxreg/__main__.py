"""`python -m jaxreg` is the command line."""

from jaxreg.cli import main

main()
