"""Trainings described as data, from public corpora of faulty programs, and our ports of them to plain PyTorch loops."""
