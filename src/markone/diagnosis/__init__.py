"""Diagnosis: from a Run to its Findings, most important cause first."""
