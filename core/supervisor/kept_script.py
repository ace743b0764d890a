"""Runs a copy of a script as if it were the script: python kept_script.py SCRIPT COPY ARGUMENT…

Started by the run's own interpreter, which may know nothing of traindeck: it imports only what
comes with Python. `__kept__` in the script's module says where the copy is.
"""

from __future__ import annotations


def _begin() -> Any:  # type: ignore[name-defined]  # noqa: F821
    """The script's code; all else is left as if Python had been started with the script."""
    import linecache
    import os
    import sys
    import traceback
    from multiprocessing import spawn

    script, copy = sys.argv[1:3]
    sys.argv[:3] = [script]
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    with open(copy, "rb") as file:
        text = file.read()
    code = compile(text, script, "exec", dont_inherit=True)
    lines = text.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[script] = (len(text), None, lines, script)

    def tell(kind, error, trace):  # type: ignore[no-untyped-def]
        """Python's own would show the lines of today's script, and ours."""
        traceback.print_exception(kind, error, trace and trace.tb_next)

    sys.excepthook = tell
    prepare = spawn.get_preparation_data

    def prepare_from_copy(name):  # type: ignore[no-untyped-def]
        """Workers that are spawned import the script anew."""
        data = prepare(name)
        if data.get("init_main_from_path") == os.path.abspath(script):
            data["init_main_from_path"] = copy
        return data

    spawn.get_preparation_data = prepare_from_copy
    globals().update(__file__=script, __kept__=copy, __doc__=None)
    return code


_code = _begin()
del _begin
exec(_code)
