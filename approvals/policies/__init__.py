"""Policy as code: rules, stages and envelopes that are files, evaluated over one documented input document."""
