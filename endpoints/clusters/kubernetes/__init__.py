"""The `kubernetes` cluster: one namespace per project and environment, one Deployment per revision of an endpoint."""
