"""The program: ``check_portcheck`` and ``python -m check_portcheck``."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the plugin on sys.argv; does not return."""
    # A run is short and leaves no cycles worth collecting; loading the modules makes many objects.
    gc.disable()
    from check_portcheck import cli

    cli.main()


if __name__ == "__main__":
    main()
