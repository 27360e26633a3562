"""How people come in: second factors, recent proof, sessions."""
