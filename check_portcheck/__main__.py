"""``python -m check_portcheck``."""

from check_portcheck.cli import main

if __name__ == "__main__":
    main()
