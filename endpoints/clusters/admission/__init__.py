"""What a cluster needs to refuse by itself what the portal would refuse: a kind of objects that holds what was
approved, and policies of the API server that compare with it. Pure functions; nothing here needs Django or the
Kubernetes client.

`terms.py` has names and the words, `expressions.py` the conditions in CEL, `rules.py` takes over the rules of a policy
bundle, and `objects.py` makes the objects of it all.
"""
