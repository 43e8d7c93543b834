#!/usr/bin/env python
"""Django's command line; on a machine with no servers configured, it runs on the embedded ones."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voxbilling.settings")
    from voxbilling.stack import StackError
    from voxbilling.stack.embedded import servers_for_command

    try:
        with servers_for_command(sys.argv):
            from django.core.management import execute_from_command_line

            execute_from_command_line(sys.argv)
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
