"""The training loop, and what it trains: backbones, adapters, item transition counts."""
