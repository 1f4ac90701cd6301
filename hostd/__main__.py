"""`python -m hostd` is the `hostd` command."""

from hostd.cli import main

if __name__ == "__main__":
    main()
