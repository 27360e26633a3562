"""dev, staging and prod side by side: what runs of each model in which environment, and where that differs."""
