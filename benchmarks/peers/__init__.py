"""gatewright beside other compilers: the same integer weights, the same synthesis, the same counting."""
