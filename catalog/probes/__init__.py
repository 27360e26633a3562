"""Parsers of hostile files. Each module here runs in a process of its own that catalog/evidence/sandbox.py starts:
`answer(content, question)` reads the file that stands open as standard input and returns what it found as JSON.

Nothing here imports Django or the rest of the portal, and nothing of the portal imports what reads files here.
"""
