"""What other programs read of the catalog, and what it reads of theirs: CycloneDX, Backstage, Open Data Hub."""
