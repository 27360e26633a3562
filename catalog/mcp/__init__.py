"""MCP servers: their description, what they answer, who may use which tools, and the registry that clients read.

server.schema.json   shape of a server.json document
schema.py            judging one
server_json.py       from a version, and to a proposal
inspect.py           asking a server, in a child process (child.py)
described.py         one that is let in before anybody asked it
definitions.py       canonical digests, pins, what changed
diff.py              that, line by line
lint.py              what a reviewer should see in a definition
grants.py            which project may use which tools until when; granted.py reads it
publishing.py        which servers anybody may read of
registry.py          the official registry API; urls.py its routes
clients.py           settings for clients
"""
