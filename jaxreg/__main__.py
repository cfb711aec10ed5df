"""`python -m jaxreg` is the command line."""

from jaxreg.cli import main

if __name__ == "__main__":
    main()
