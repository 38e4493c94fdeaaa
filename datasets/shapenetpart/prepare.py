"""The same as `pcclora prepare shapenetpart`, from a checkout."""

from pcclora.tools.command import run

if __name__ == "__main__":
    run("prepare", "shapenetpart")
