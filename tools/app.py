#!/usr/bin/env python3
"""The same as `pcclora app`, from a checkout."""

from pcclora.tools.command import run

if __name__ == "__main__":
    run("app")
