"""Drawn faces, which stand in for FER2013 and CK+ where those are not there."""
