"""The portal as an OAuth 2 provider of its own API, and the tokens of others that it takes."""
