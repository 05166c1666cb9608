"""The live event stream: `listener.py` receives changes, `broker.py` distributes them."""
