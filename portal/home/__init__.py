"""The first page, by person: cards in a fixed order, as many as the page may ask the database for."""
