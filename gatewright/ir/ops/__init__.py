"""The operations of the Graph, one file per family. `OPS` lists them all, by the name that the text form uses."""

from gatewright.ir.graph import Op
from gatewright.ir.ops.division import Divide, SquareRoot
from gatewright.ir.ops.function import Requant, Table, Thresholds
from gatewright.ir.ops.linear import Combine, Dense, Multiply, ReduceSum
from gatewright.ir.ops.port import Input
from gatewright.ir.ops.rank import TopK
from gatewright.ir.ops.region import Region
from gatewright.ir.ops.select import Extremum, Select
from gatewright.ir.ops.shape import Concat, Reshape, Take, Transpose
from gatewright.ir.ops.window import Conv, ExtremePool, ReduceExtreme, SumPool

__all__ = ["OPS", "Combine", "Concat", "Conv", "Dense", "Divide", "ExtremePool", "Extremum", "Input", "Multiply", "ReduceExtreme",
           "ReduceSum", "Region", "Requant", "Reshape", "Select", "SquareRoot", "SumPool", "Table", "Take", "Thresholds",
           "TopK", "Transpose"]

OPS: dict[str, type[Op]] = {
    op.kind: op
    for op in (Input, Dense, ReduceSum, Combine, Multiply, Conv, SumPool, ExtremePool, ReduceExtreme,
               Reshape, Transpose, Take, Concat, Region, Requant, Thresholds, Table, Select, Extremum, TopK, Divide,
               SquareRoot)
}
