"""Callbacks that watch a training of another framework. Each imports its framework when its class is first asked for.

from markone.adapters.lightning import WatchCallback
Trainer(callbacks=[WatchCallback()]).fit(model, loader)
"""
