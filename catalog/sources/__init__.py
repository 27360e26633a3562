"""Where the content of a version lies. One small module per kind of source; `open_tree` finds the one for an address.

hf://org/model@revision        a hub with the API of Hugging Face
oci://registry/name@sha256:…   an OCI registry
s3://bucket/prefix             a bucket
pvc://claim/path               a directory of a volume that this installation mounts
file:///path                   a directory of this machine, below one that an operator allowed
builtin://…                    ships with the portal: nothing to read
"""
