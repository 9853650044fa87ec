"""`python -m wplus` is the command `wplus`."""

from wplus.cli import main

if __name__ == "__main__":
    main()
