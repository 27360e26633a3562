"""The embedded stack: broker, server and worker as children of one small process. Imports no Django, to stay small."""
