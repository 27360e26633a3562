"""Who may do what, and through what: read from the same rules that decide, and never written here."""
