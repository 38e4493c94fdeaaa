"""The same as `pcclora prepare vtab1k`, from a checkout."""

from pcclora.tools.command import run

if __name__ == "__main__":
    run("prepare", "vtab1k")
