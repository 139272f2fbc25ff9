"""How the network that spots expressions is fitted, on drawn recordings and on annotated ones."""
