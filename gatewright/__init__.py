"""gatewright: from a trained network to FPGA firmware that computes the same bits."""

__version__ = "0.1.0"
