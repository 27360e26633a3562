"""Following clusters as they change, by leases that several watcher processes share, and the rare look at everything
that finds what no message told.
"""
