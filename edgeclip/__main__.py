"""`python -m edgeclip`."""

from edgeclip.cli.main import main

if __name__ == "__main__":
    main()
