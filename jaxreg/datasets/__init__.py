"""Tables that ship with jaxreg, so that every example runs without a download."""

from jaxreg.datasets._diabetes import Table, load_diabetes

__all__ = ["Table", "load_diabetes"]
