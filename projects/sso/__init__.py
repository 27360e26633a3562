"""Single sign-on: people of an identity provider, and what their groups make of them here."""
