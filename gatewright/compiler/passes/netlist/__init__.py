"""Netlist passes, one a file: each a pure function `Netlist -> (Netlist, moved)`.

`moved` is int32[rows of the old netlist]: the new row that carries an old row's value, or -1 where none does.
Every pass keeps every output bit, the input ports and the order of the rows that stay.
"""
