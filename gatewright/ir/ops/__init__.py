"""The operations of the Graph, one file per family. `OPS` lists them all, by the name that the text form uses."""

from gatewright.ir.graph import Op
from gatewright.ir.ops.function import Requant, Table, Thresholds
from gatewright.ir.ops.linear import Combine, Dense, Multiply, ReduceSum
from gatewright.ir.ops.port import Input
from gatewright.ir.ops.region import Region
from gatewright.ir.ops.shape import Reshape, Transpose

__all__ = ["OPS", "Combine", "Dense", "Input", "Multiply", "ReduceSum", "Region", "Requant", "Reshape", "Table",
           "Thresholds", "Transpose"]

OPS: dict[str, type[Op]] = {
    op.kind: op
    for op in (Input, Dense, ReduceSum, Combine, Multiply, Reshape, Transpose, Region, Requant, Thresholds, Table)
}
