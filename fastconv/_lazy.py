"""Modules whose public names are loaded on first use, so that importing them costs next to nothing.

    __getattr__, __dir__, __all__ = public_names(__name__, {"home": ("name", ...)}, ("module", ...))
"""

import importlib
import sys


def public_names(package, homes, modules=()):
    """Make what a package needs to load its names when somebody first asks for them.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : dict of str to tuple of str
        The public names of each module, which is named relative to the package.
    modules : tuple of str
        Modules of the package that are public themselves.

    Returns
    -------
    getattr, dir : function
        For the package's ``__getattr__`` and ``__dir__``.
    names : list of str
        All of them, for its ``__all__``.
    """
    home = {name: module for module, names in homes.items() for name in names}
    public = [*home, *modules]

    def load(name):
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f".{home.get(name, name)}", package)
        value = getattr(module, name) if name in home else module
        setattr(sys.modules[package], name, value)
        return value

    def known():
        return sorted(public)

    return load, known, public
