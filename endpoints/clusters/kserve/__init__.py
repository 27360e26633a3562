"""The `kserve` cluster: one InferenceService or LLMInferenceService per revision of an endpoint."""
