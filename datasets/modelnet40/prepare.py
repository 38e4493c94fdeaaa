"""The same as `pcclora prepare modelnet40`, from a checkout."""

from pcclora.tools.command import run

if __name__ == "__main__":
    run("prepare", "modelnet40")
